import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { GoogleError } from 'google-gax';

export const serviceConfig = readFileSync(new URL('service_config.json', import.meta.url), 'utf8');

// The folder "proto" of Rollcall's repository.
const services = ['auth', 'tenant', 'user'].map((name) => `rollcall/v1/${name}_service.proto`);
const contract = loadSync(services, { includeDirs: [process.env.ROLLCALL_PROTO], enums: String, oneofs: true, longs: String });
export const rollcall = grpc.loadPackageDefinition(contract).rollcall.v1;

/** What a client of a service takes, for instance new rollcall.AuthService('dns:///auth-gateway.example:50051', ...connection). */
export function connection(ca, token, more = {}) {
  const bearer = grpc.credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new grpc.Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    done(null, metadata);
  });
  const credentials = grpc.credentials.combineChannelCredentials(grpc.credentials.createSsl(ca), bearer);
  const options = {
    'grpc.service_config': serviceConfig,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  };
  return [credentials, { ...options, ...more }];
}

/** Calls a method that answers once. */
export function call(client, method, request, options = {}) {
  return promisify(client[method]).call(client, request, new grpc.Metadata(), options);
}

/** Returns the answer: its "authenticated" or its "denial" is set. An error is neither. */
export function login(auth, tenant, name, password, options) {
  const requestId = randomUUID(); // Makes the retries of the service config safe.
  return call(auth, 'Authenticate', { tenant, login: name, password, requestId }, options);
}

/** Yields every event after the cursor, for ever, with the cursor to keep with what you made of it. */
export async function* follow(users, tenant, cursor) {
  for (;;) {
    const stream = users.WatchUserEvents({ parent: tenant, after: cursor }, new grpc.Metadata({ waitForReady: true }));
    try {
      for await (const message of stream) {
        cursor = message.cursor;
        yield [message.event, cursor]; // No event when only the cursor moved.
      }
    } catch (error) {
      const again = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED].includes(error.code);
      if (!again) throw error; // CURSOR_EXPIRED: list the users anew, and follow from their event_cursor.
    } finally {
      stream.cancel();
    }
    await sleep(1000);
  }
}

/** What a program decides by: CURSOR_EXPIRED, for instance. Empty: the client library made the status itself. */
export function reason(error) {
  const { domain, reason } = GoogleError.parseGRPCStatusDetails(error);
  return domain === 'rollcall' ? reason : '';
}
