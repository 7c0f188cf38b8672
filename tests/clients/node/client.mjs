// The client program of the suite in Node: does what it is told, and tells what it was answered.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-node';
import grpc from '@grpc/grpc-js';
import { call, connection, follow, login, reason, rollcall, serviceConfig } from './calls.mjs';
import * as connect from './dist/connect.js';
import { BadRequestSchema } from './dist/gen/google/rpc/error_details_pb.js';
import { AuthService, DenialReason } from './dist/gen/rollcall/v1/auth_service_pb.js';

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const line = async () => (await input.next()).value;
const task = JSON.parse(await line());
const [A, B] = [task.a, task.b];

/** Clients of a service at these gateways. */
function client(service, addresses, more = {}, token = task.token) {
  // Several addresses without a name need one to be said: the authority would be all of them together.
  const options = { 'grpc.default_authority': 'localhost', ...more };
  return new rollcall[service](`ipv4:${addresses}`, ...connection(readFileSync(task.ca_file), token, options));
}

/** An error as the suite writes it. */
function words(error) {
  if (error.code === undefined) throw error;
  const parts = [grpc.status[error.code]];
  const why = reason(error);
  if (why) parts.push(why);
  let metadata = [];
  let fields = [];
  for (const detail of error.statusDetails ?? []) {
    const type = detail.$type.name;
    if (type === 'ErrorInfo') metadata = Object.entries(detail.metadata).map(([key, value]) => `${key}=${value}`);
    if (type === 'BadRequest') fields = detail.fieldViolations.map((violation) => violation.field);
    if (type === 'RetryInfo') parts.push('retry');
  }
  if (fields.length) parts.push(`fields=${fields.sort()}`);
  return [...parts, ...metadata.sort()].join(' ');
}

async function outcome(answer) {
  try {
    const { authenticated, denial } = await answer;
    if (!denial) return `AUTHENTICATED ${authenticated.user.login}`;
    return `DENIED ${denial.reason.replace('DENIAL_REASON_', '')}${denial.retryAfter ? ' retry' : ''}`;
  } catch (error) {
    return words(error);
  }
}

function attempt(auth, { tenant, login: name, password, request_id: requestId }, options) {
  if (requestId) return outcome(call(auth, 'Authenticate', { tenant, login: name, password, requestId }, options));
  return outcome(login(auth, tenant, name, password, options));
}

async function listUsers(users, parent) {
  const all = [];
  let pageToken = '';
  do {
    const page = await call(users, 'ListUsers', { parent, pageSize: 1000, pageToken });
    all.push(...page.users);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return all;
}

async function countEvents(users, parent) {
  let [count, page] = [0, { nextCursor: '', more: true }];
  while (page.more) {
    page = await call(users, 'ListUserEvents', { parent, pageSize: 1000, after: page.nextCursor });
    count += page.events.length;
  }
  return count;
}

/** Only the events, without what moves the cursor alone. */
async function* events(users, tenant, cursor) {
  for await (const [event] of follow(users, tenant, cursor)) if (event) yield event;
}

/** Reads the feed from one gateway, which is killed and started, while another makes the changes. */
async function feed() {
  const [users, writing] = [client('UserService', [A]), client('UserService', [B])];
  const first = await call(users, 'ListUsers', { parent: task.own });
  const told = events(users, task.own, first.eventCursor);
  let count = 0;
  for (const part of [0, 1, 2]) {
    if (part === 1) await ask('kill-a');
    for (let number = 0; number < 5; number++) {
      const user = { login: `user${part * 5 + number}`, role: 'user' };
      await call(writing, 'CreateUser', { parent: task.own, user });
    }
    if (part === 1) await ask('start-a');
    for (let number = 0; number < 5; number++, count++) {
      const { user } = (await told.next()).value;
      if (user.login !== `user${count}`) return `${user.login} after ${count} events`;
    }
  }
  await told.return();
  return `${count} events in order`;
}

/** What a consumer does that comes back too late. */
async function listAnew() {
  const users = client('UserService', [A]);
  let told;
  try {
    return JSON.stringify((await follow(users, task.archive, task.expired_cursor).next()).value);
  } catch (error) {
    told = words(error);
    if (reason(error) !== 'CURSOR_EXPIRED') return told;
  }
  const page = await call(users, 'ListUsers', { parent: task.archive });
  const blocked = await call(users, 'BlockUser', { name: page.users[task.place].name });
  for await (const event of events(users, task.archive, page.eventCursor)) {
    if (event.type === 'USER_EVENT_TYPE_BLOCKED' && event.user.revision === blocked.revision)
      return `${told}, then ${page.users.length} users and the next event`;
  }
}

/** A stream whose connection carries nothing any more, and then another call. */
async function silence() {
  const soon = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 1_000 };
  const stream = client('UserService', [A], soon).WatchUserEvents({ parent: task.own });
  let asked;
  try {
    for await (const _ of stream) asked ??= await ask('silence-a');
  } catch (error) {
    return `${words(error)}, then ${await attempt(client('AuthService', [A], soon), task.right)}`;
  }
}

/** Calls at short distances, and how many of them succeeded. */
async function thirty(users) {
  const calls = [];
  for (let number = 0; number < 30; number++) {
    calls.push(call(users, 'LookupUser', { parent: task.large, identifier: 'large1' }));
    await sleep(20);
  }
  const ended = await Promise.allSettled(calls);
  return `${ended.filter(({ status }) => status === 'fulfilled').length} of 30`;
}

async function both() {
  const told = await thirty(sharing);
  const served = (await ask('calls LookupUser')).split(' ');
  return told + (Math.min(...served) >= 5 ? ', both served' : '');
}

async function oneKilled() {
  await ask('kill-a');
  const told = await thirty(sharing);
  await ask('start-a');
  return told;
}

// One gateway first and the other when that is gone: without retries, and with those of the listing.
const plain = { loadBalancingConfig: [{ pick_first: {} }] };
const retrying = { ...JSON.parse(serviceConfig), ...plain };

/** Loses the gateway in the middle of a bind. Retries go to the other. */
async function killed(person, login, config) {
  const auth = client('AuthService', [A, B], { 'grpc.service_config': JSON.stringify(config) });
  const told = login(auth, person);
  await ask(`kill-a-at-bind ${person.login}`);
  const result = `${await told}, ${await ask(`binds ${person.login}`)} bind`;
  await ask('start-a');
  return result;
}

const withoutId = (auth, person) => outcome(call(auth, 'Authenticate', person));

/** Calls without a request_id, and up to three times as long as it is told that nothing was sent. */
async function careful(auth, person) {
  for (let calls = 1; ; calls++) {
    try {
      await call(auth, 'Authenticate', person, { deadline: Date.now() + 15_000 });
      return 'authenticated';
    } catch (error) {
      if (error.code === grpc.status.UNAVAILABLE && reason(error) && calls < 3) continue;
      return `${words(error)}, ${calls} call`;
    }
  }
}

/** A request that generated code does not make. */
function raw({ path, message }) {
  const { responseDeserialize } = rollcall.AuthService.service.Authenticate;
  const send = promisify(auth.makeUnaryRequest).bind(auth);
  return outcome(send(path, (bytes) => bytes, responseDeserialize, Buffer.from(message, 'base64')));
}

/** Sends a framed login without gRPC; what Node brings for it speaks HTTP/1.1. */
function post() {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/grpc', authorization: `Bearer ${task.token}` };
    const options = { method: 'POST', headers, ca: readFileSync(task.ca_file) };
    const request = https.request(`https://${A}/rollcall.v1.AuthService/Authenticate`, options, async (answer) => {
      const text = Buffer.concat(await answer.toArray()).toString();
      resolve(`${answer.statusCode} ${text.split('.')[0]}`);
    });
    request.on('error', reject);
    request.end(Buffer.from(task.framed, 'base64'));
  });
}

/** An error as Connect tells it, in the suite's words. */
function connectWords(error) {
  const [bad] = error.findDetails(BadRequestSchema);
  const fields = bad ? ` fields=${bad.fieldViolations.map(({ field }) => field).sort()}` : '';
  return `${Code[error.code]} ${connect.reason(error)}${fields}`;
}

async function overConnect(transport, { tenant, login: name, password }) {
  try {
    const { case: outcome, value } = await connect.login(transport, tenant, name, password);
    return outcome === 'authenticated' ? `AUTHENTICATED ${value.user.login}` : `DENIED ${DenialReason[value.reason]}`;
  } catch (error) {
    return connectWords(error);
  }
}

async function connectEvents(transport) {
  const first = await call(client('UserService', [A]), 'ListUserEvents', { parent: task.own, pageSize: 1 });
  let count = first.events.length;
  for await (const [event] of connect.follow(transport, task.own, first.nextCursor)) {
    if (event && event.user.login !== `user${count++}`) return `${event.user.login} after ${count - 1} events`;
    if (count === 15) break;
  }
  return `${count} events in order`;
}

async function overGrpcWeb() {
  const nodeOptions = { ca: readFileSync(task.ca_file) };
  const transport = createGrpcWebTransport({ baseUrl: `https://${A}`, httpVersion: '2', nodeOptions });
  const { tenant, login, password } = task.web;
  try {
    const headers = { authorization: `Bearer ${task.token}` };
    const answer = await createClient(AuthService, transport).authenticate({ tenant, login, password }, { headers });
    return answer.outcome.case;
  } catch (error) {
    return error.message;
  }
}

/** Has the suite do something, and returns its answer. */
function ask(what) {
  console.log(JSON.stringify({ ask: what }));
  return line();
}

/** Tells how a case ended; one that fails does not keep the others from running. */
async function run(name, answer) {
  const result = await answer().catch((failure) => String(failure.stack));
  console.log(JSON.stringify({ case: name, result }));
}

for (const person of task.attempts) {
  const auth = client('AuthService', [A], {}, person.token);
  await run(`login: ${person.name}`, () => attempt(auth, person));
}
const [auth, users] = [client('AuthService', [A]), client('UserService', [A])];
await run("the worker's service", () => outcome(call(client('TenantService', [A]), 'GetTenant', { name: task.own })));
await run('1 ms', async () => (await attempt(auth, task.hurried, { deadline: Date.now() + 1 })).split(' ')[0]);
const gzip = { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip };
await run('login', () => attempt(client('AuthService', [A], gzip), task.right));
await run('list', async () => `${(await listUsers(client('UserService', [A], gzip), task.large)).length} users`);
await run('pages', async () => {
  const all = await listUsers(users, task.large);
  return `${all.length} users, ${await countEvents(users, task.large)} events`;
});
await run('20 KB of metadata', () => {
  const metadata = new grpc.Metadata();
  metadata.set('x-large', 'x'.repeat(20_000));
  return outcome(promisify(auth.Authenticate).call(auth, task.right, metadata));
});
await run('HTTP/1.1', post);
await run('gRPC-Web', overGrpcWeb);
for (const message of task.raw) await run(`raw: ${message.name}`, () => raw(message));
const transport = connect.connect(`https://${A}`, readFileSync(task.ca_file), task.token);
await run('Connect', () => overConnect(transport, task.right));
await run('Connect, bad fields', () => overConnect(transport, { tenant: 'acme', login: '', password: '' }));
await run('events', feed);
await run('Connect, events', () => connectEvents(transport));
await run('expired cursor', listAnew);
await run('silence', silence);
const sharing = client('UserService', [A, B]);
await run('both', both);
await run('one killed', oneKilled);
await run('killed while binding', () => killed(task.held, attempt, retrying));
await run('killed while binding, without a request_id', () => killed(task.twice, withoutId, retrying));
await run('killed while binding, retrying ours alone', () => killed(task.careful, careful, plain));
const toB = client('AuthService', [B], { 'grpc.service_config': JSON.stringify(plain) });
await run('directory away, retrying ours alone', () => careful(toB, task.away));
process.exit();
