"""The client program of the suite in Python: does what it is told, and tells what it was answered."""

import base64
import http.client
import json
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from calls import SERVICE_CONFIG, connect, follow, login, reason
from rollcall.v1 import auth_service_pb2 as auth_pb
from rollcall.v1 import auth_service_pb2_grpc as auth_grpc
from rollcall.v1 import tenant_service_pb2, tenant_service_pb2_grpc
from rollcall.v1 import user_service_pb2 as user_pb
from rollcall.v1 import user_service_pb2_grpc as user_grpc

TASK = json.loads(sys.stdin.readline())
A, B = TASK["a"], TASK["b"]


def channel(addresses, token=TASK["token"], **more):
    # Several addresses without a name need one to be said: the authority would be all of them together.
    more = {f"grpc.{key}": value for key, value in ({"default_authority": "localhost"} | more).items()}
    ca = Path(TASK["ca_file"]).read_bytes()
    return connect("ipv4:" + ",".join(addresses), ca, token, **more)


def words(error):
    """An error as the suite writes it."""
    parts = [error.code().name] + [text for text in [reason(error)] if text]
    fields, metadata = [], []
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            metadata = [f"{key}={value}" for key, value in sorted(info.metadata.items())]
        elif detail.Unpack(bad):
            fields = sorted(violation.field for violation in bad.field_violations)
        elif detail.Unpack(retry):
            parts.append("retry")
    if fields:
        parts.append("fields=" + ",".join(fields))
    return " ".join(parts + metadata)


def outcome(call):
    try:
        answer = call()
    except grpc.RpcError as error:
        return words(error)
    if answer.HasField("denial"):
        denied = auth_pb.DenialReason.Name(answer.denial.reason).removeprefix("DENIAL_REASON_")
        return f"DENIED {denied}" + (" retry" if answer.denial.HasField("retry_after") else "")
    return f"AUTHENTICATED {answer.authenticated.user.login}"


def attempt(through, person):
    auth = auth_grpc.AuthServiceStub(through)
    who = {key: person[key] for key in ("tenant", "login", "password")}
    if person.get("request_id"):
        request = auth_pb.AuthenticateRequest(request_id=person["request_id"], **who)
        return outcome(lambda: auth.Authenticate(request))
    return outcome(lambda: login(auth, *who.values()))


def wrong_server():
    tenants = tenant_service_pb2_grpc.TenantServiceStub(through_a)
    return outcome(lambda: tenants.GetTenant(tenant_service_pb2.GetTenantRequest(name=TASK["own"])))


def hurried():
    person = TASK["hurried"]
    auth = auth_grpc.AuthServiceStub(through_a)
    told = outcome(lambda: login(auth, person["tenant"], person["login"], person["password"], timeout=0.001))
    return told.split()[0]


def list_users(through, tenant):
    users, token = [], None
    while token != "":
        request = user_pb.ListUsersRequest(parent=tenant, page_size=1000, page_token=token)
        page = user_grpc.UserServiceStub(through).ListUsers(request)
        users, token = users + list(page.users), page.next_page_token
    return users


def list_events(through, tenant):
    count, cursor, more = 0, "", True
    while more:
        request = user_pb.ListUserEventsRequest(parent=tenant, page_size=1000, after=cursor)
        page = user_grpc.UserServiceStub(through).ListUserEvents(request)
        count, cursor, more = count + len(page.events), page.next_cursor, page.more
    return count


def feed():
    """Reads the feed from one gateway, which is killed and started, while another makes the changes."""
    users, writing = user_grpc.UserServiceStub(channel([A])), user_grpc.UserServiceStub(channel([B]))
    first = users.ListUsers(user_pb.ListUsersRequest(parent=TASK["own"]))
    events = (event for event, _ in follow(users, TASK["own"], first.event_cursor) if event)
    count = 0
    for part in range(3):
        if part == 1:
            ask("kill-a")
        for number in range(part * 5, part * 5 + 5):
            user = user_pb.User(login=f"user{number}", role="user")
            writing.CreateUser(user_pb.CreateUserRequest(parent=TASK["own"], user=user))
        if part == 1:
            ask("start-a")
        for _ in range(5):
            told = next(events).user.login
            if told != f"user{count}":
                return f"{told} after {count} events"
            count += 1
    return f"{count} events in order"


def list_anew():
    """What a consumer does that comes back too late."""
    users = user_grpc.UserServiceStub(through_a)
    try:
        return str(next(follow(users, TASK["archive"], TASK["expired_cursor"])))
    except grpc.RpcError as error:
        told, why = words(error), reason(error)
    if why != "CURSOR_EXPIRED":
        return told
    page = users.ListUsers(user_pb.ListUsersRequest(parent=TASK["archive"]))
    blocked = users.BlockUser(user_pb.BlockUserRequest(name=page.users[TASK["place"]].name))
    events = (event for event, _ in follow(users, TASK["archive"], page.event_cursor) if event)
    for event in events:
        if event.type == user_pb.USER_EVENT_TYPE_BLOCKED and event.user.revision == blocked.revision:
            return f"{told}, then {len(page.users)} users and the next event"


def silence():
    """A stream whose connection carries nothing any more, and then another call."""
    through = channel([A], keepalive_time_ms=10_000, keepalive_timeout_ms=1_000)
    stream = user_grpc.UserServiceStub(through).WatchUserEvents(user_pb.WatchUserEventsRequest(parent=TASK["own"]))
    next(stream)
    ask("silence-a")
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        return words(error) + ", then " + attempt(through, TASK["right"])


def thirty():
    """Calls at short distances, and how many of them succeeded."""
    request = user_pb.LookupUserRequest(parent=TASK["large"], identifier="large1")

    def call():
        try:
            return user_grpc.UserServiceStub(through_both).LookupUser(request) is not None
        except grpc.RpcError:
            return False

    with ThreadPoolExecutor(30) as pool:
        calls = []
        for _ in range(30):
            calls.append(pool.submit(call))
            time.sleep(0.02)
        return f"{sum(call.result() for call in calls)} of 30"


def both():
    told = thirty()
    a, b = map(int, ask("calls LookupUser").split())
    return told + (", both served" if min(a, b) >= 5 else "")


def one_killed():
    ask("kill-a")
    told = thirty()
    ask("start-a")
    return told


# One gateway first and the other when that is gone: without retries, and with those of the listing.
PLAIN = {"loadBalancingConfig": [{"pick_first": {}}]}
RETRYING = json.loads(SERVICE_CONFIG) | PLAIN


def killed(person, call, config):
    """Loses the gateway in the middle of a bind. Retries go to the other."""
    through = channel([A, B], service_config=json.dumps(config))
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(call, through, person)
        ask("kill-a-at-bind " + person["login"])
        try:
            return f"{told.result()}, {ask('binds ' + person['login'])} bind"
        finally:
            ask("start-a")


def without_id(through, person):
    return outcome(lambda: auth_grpc.AuthServiceStub(through).Authenticate(auth_pb.AuthenticateRequest(**person)))


def careful(through, person):
    """Calls without a request_id, and up to three times as long as it is told that nothing was sent."""
    for call in (1, 2, 3):
        try:
            auth_grpc.AuthServiceStub(through).Authenticate(auth_pb.AuthenticateRequest(**person), timeout=15)
        except grpc.RpcError as error:
            told = f"{words(error)}, {call} call"
            if error.code() != grpc.StatusCode.UNAVAILABLE or not reason(error):
                break
    return told


def large_metadata():
    person = TASK["right"]
    request = auth_pb.AuthenticateRequest(**person)
    auth = auth_grpc.AuthServiceStub(through_a)
    return outcome(lambda: auth.Authenticate(request, metadata=[("x-large", "x" * 20_000)]))


def send_raw(raw):
    """A request that generated code does not make."""
    call = through_a.unary_unary(raw["path"], response_deserializer=auth_pb.AuthenticateResponse.FromString)
    return outcome(lambda: call(base64.b64decode(raw["message"])))


def post(content_type):
    """Sends a framed login without gRPC. HTTP/2 is in none of Python's own libraries."""
    tls = ssl.create_default_context(cafile=TASK["ca_file"])
    connection = http.client.HTTPSConnection(A, context=tls)
    headers = {"content-type": content_type, "authorization": "Bearer " + TASK["token"]}
    connection.request("POST", "/rollcall.v1.AuthService/Authenticate", base64.b64decode(TASK["framed"]), headers)
    answer = connection.getresponse()
    return f"{answer.status} {answer.read().decode().split('.')[0]}"


def tell(name, result):
    print(json.dumps({"case": name, "result": result}), flush=True)


def ask(what):
    """Has the suite do something, and returns its answer."""
    print(json.dumps({"ask": what}), flush=True)
    return sys.stdin.readline().strip()


def run(name, do, *arguments):
    try:
        tell(name, do(*arguments))
    except Exception as failure:  # One that fails does not keep the others from running.
        tell(name, repr(failure))


for person in TASK["attempts"]:
    run("login: " + person["name"], attempt, channel([A], person["token"]), person)
through_a = channel([A])
run("the worker's service", wrong_server)
run("1 ms", hurried)
compressing = channel([A], default_compression_algorithm=grpc.Compression.Gzip.value)
run("login", attempt, compressing, TASK["right"])
run("list", lambda: f"{len(list_users(compressing, TASK['large']))} users")
run(
    "pages",
    lambda: f"{len(list_users(through_a, TASK['large']))} users, {list_events(through_a, TASK['large'])} events",
)
run("20 KB of metadata", large_metadata)
run("HTTP/1.1", post, "application/grpc")
run("gRPC-Web", post, "application/grpc-web+proto")
for raw in TASK["raw"]:
    run("raw: " + raw["name"], send_raw, raw)
run("events", feed)
run("expired cursor", list_anew)
run("silence", silence)
through_both = channel([A, B])
run("both", both)
run("one killed", one_killed)
run("killed while binding", killed, TASK["held"], attempt, RETRYING)
run("killed while binding, without a request_id", killed, TASK["twice"], without_id, RETRYING)
run("killed while binding, retrying ours alone", killed, TASK["careful"], careful, PLAIN)
run(
    "directory away, retrying ours alone",
    lambda: careful(channel([B], service_config=json.dumps(PLAIN)), TASK["away"]),
)
