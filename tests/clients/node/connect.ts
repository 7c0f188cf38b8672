import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ErrorInfoSchema } from './gen/google/rpc/error_details_pb.js';
import { AuthService } from './gen/rollcall/v1/auth_service_pb.js';
import { UserService, type UserEvent } from './gen/rollcall/v1/user_service_pb.js';

/** The one transport of a process, for instance to "https://auth-gateway.example:50051". It retries nothing by itself. */
export function connect(baseUrl: string, ca: Buffer, token: string): Transport {
  const bearer: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${token}`);
    return next(request);
  };
  return createGrpcTransport({
    baseUrl,
    nodeOptions: { ca },
    interceptors: [bearer],
    pingIntervalMs: 30_000,
    pingTimeoutMs: 10_000,
  });
}

/** Returns "authenticated" or "denial" as the outcome's case. An error is neither. */
export async function login(transport: Transport, tenant: string, name: string, password: string) {
  const request = { tenant, login: name, password, requestId: randomUUID() }; // Makes a repeat of the call safe.
  return (await createClient(AuthService, transport).authenticate(request, { timeoutMs: 15_000 })).outcome;
}

/** Yields every event after the cursor, for ever, with the cursor to keep with what you made of it. */
export async function* follow(transport: Transport, parent: string, after: string): AsyncGenerator<[UserEvent | undefined, string]> {
  for (;;) {
    try {
      for await (const message of createClient(UserService, transport).watchUserEvents({ parent, after })) {
        after = message.cursor;
        yield [message.event, after]; // No event when only the cursor moved.
      }
    } catch (error) {
      const again = [Code.Unavailable, Code.DeadlineExceeded].includes(ConnectError.from(error).code);
      if (!again) throw error; // CURSOR_EXPIRED: list the users anew, and follow from their eventCursor.
    }
    await sleep(1000);
  }
}

/** What a program decides by: CURSOR_EXPIRED, for instance. Empty: the library made the status itself. */
export function reason(error: unknown): string {
  const infos = ConnectError.from(error).findDetails(ErrorInfoSchema);
  return infos.find(({ domain }) => domain === 'rollcall')?.reason ?? '';
}
