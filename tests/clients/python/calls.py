import time
import uuid
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rollcall.v1 import auth_service_pb2, user_service_pb2

SERVICE_CONFIG = Path(__file__).with_name("service_config.json").read_text()


def connect(target, ca, token, **more):
    """Opens the one channel of a process, for instance to "dns:///auth-gateway.example:50051"."""
    options = {
        "grpc.service_config": SERVICE_CONFIG,
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
    } | more
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(ca), grpc.access_token_call_credentials(token)
    )
    return grpc.secure_channel(target, credentials, list(options.items()))


def login(auth, tenant, name, password, **more):
    """Returns the answer: "authenticated" or "denial" is set. An exception is neither."""
    return auth.Authenticate(
        auth_service_pb2.AuthenticateRequest(
            tenant=tenant,
            login=name,
            password=password,
            request_id=str(uuid.uuid4()),  # Makes the retries of the service config safe.
        ),
        **more,
    )


def follow(users, tenant, cursor):
    """Yields every event after the cursor, for ever, with the cursor to keep with what you made of it."""
    while True:
        request = user_service_pb2.WatchUserEventsRequest(parent=tenant, after=cursor)
        try:
            for message in users.WatchUserEvents(request, wait_for_ready=True):
                cursor = message.cursor
                yield message.event if message.HasField("event") else None, cursor
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise  # CURSOR_EXPIRED: list the users anew, and follow from their event_cursor.
        time.sleep(1)


def reason(error):
    """What a program decides by: CURSOR_EXPIRED, for instance. Empty: the library made the status itself."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == "rollcall":
            return info.reason
    return ""
