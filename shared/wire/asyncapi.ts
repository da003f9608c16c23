import { z } from 'zod';
import { MAX_CONTROL_MESSAGE, MAX_PAYLOAD } from '../base/limits.ts';
import { EnrolAnswer, EnrolForward, EnrolReply, EnrolRequest, SignedRequest } from './enrol.ts';
import {
  Absent,
  DeviceHello,
  ErrorBody,
  GatewayHello,
  GroupKeys,
  KeyAnswer,
  KeyAnswers,
  KeyQuestion,
  KeyQuestions,
  OBJECT_KINDS,
  Offer,
  Peers,
  Progress,
  Receipt,
  Receipts,
  Refused,
  Seen,
  Signed,
  SignedKeyQuestion,
  Statement,
  TimeAnswer,
  TimeQuestion,
  TimeStatement,
  TreeHead,
  Want,
} from './messages.ts';
import { EVENTS, OPS_ACTIONS } from './ops.ts';
import { ROOT } from './topics.ts';

/**
 * The AsyncAPI 3.0 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0) of both legs and of ops,
 * generated from the zod schemas. Seen from the owner of the broker: it *receives* what others say (`up`) and *sends* `down`,
 * announcements and events. Pure.
 */

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

interface Spoken {
  readonly channel: string;
  readonly action: 'send' | 'receive';
  readonly address: string;
  readonly summary: string;
  readonly message: string;
  readonly qos: 0 | 1;
}

const GATEWAY = 'customer/{customer}/site/{site}/gateway/{gateway}';
const DEVICE = 'customer/{customer}/site/{site}/group/{group}/device/{device}';
const OPS = 'ops/{ops}';
const SCOPE = 'customer/{customer}/site/{site}/group/{group}';
const OBJECT_TAIL = '{objectGroup}/{kind}/{name}/{part}/{parts}';

/** Payloads in JSON that travel on fixed topics, by the name they get in the document. */
const PAYLOADS = {
  GatewayHello,
  DeviceHello,
  Offer,
  Peers,
  Want,
  Absent,
  Signed,
  Receipts,
  Refused,
  Progress,
  Seen,
  TimeQuestion,
  TimeAnswer,
  SignedKeyQuestion,
  KeyQuestions,
  KeyAnswers,
  KeyAnswer,
  EnrolForward,
  EnrolReply,
} as const;

const PARAMETERS: Readonly<Record<string, JsonObject>> = {
  customer: { description: 'Who bought it.' },
  site: { description: 'One location with one gateway.' },
  group: { description: 'The unit of entitlement.' },
  device: { description: 'One machine.' },
  gateway: { description: "The name in the gateway's certificate." },
  ops: { description: 'The name in the ops certificate.' },
  objectGroup: { description: 'The group whose bundle the object belongs to.' },
  kind: { enum: [...OBJECT_KINDS], description: 'metadata: a TUF file name; target, chunk: a sha256.' },
  name: { description: "The object's name." },
  part: { description: 'Number of this part, from 0.' },
  parts: { description: `Parts of the object; each has ${MAX_PAYLOAD} bytes, the last one at most.` },
  sha256: { description: 'The hash of the uploaded object.' },
};

export function buildAsyncApi(version: string): JsonObject {
  const spoken = conversation();
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Wardcast',
      version,
      description:
        'MQTT 3.1.1 over mutual TLS 1.3. Every identity owns the sub-tree wardcast/1/<identity>: it says things under up/, it hears things under down/. ' +
        `Who may say and hear what is decided by shared/wire/policy.ts alone. JSON messages are at most ${MAX_CONTROL_MESSAGE} bytes; objects are raw bytes.`,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      provider: server('{host}:{port}', "The provider's broker: gateways dial in over the line, ops too."),
      gateway: server('{host}:{port}', "A gateway's broker on the site's LAN: devices find it by mDNS (_wardcast-gw._tcp) or a static address."),
    },
    channels: channels(spoken),
    operations: operations(spoken),
    components: {
      messages: messages(),
      schemas: schemas(),
      securitySchemes: { mutualTls: { type: 'X509', description: 'Identity: one SPIFFE URI in the SAN.' } },
    },
  };
}

function conversation(): Spoken[] {
  const said = (who: string, path: string, verb: string, message: string, summary: string, qos: 0 | 1 = 1): Spoken => ({
    channel: `${who}-${verb}`,
    action: 'receive',
    address: `${ROOT}/${path}/up/${verb}`,
    summary,
    message,
    qos,
  });
  const heard = (who: string, path: string, verb: string, message: string, summary: string, qos: 0 | 1 = 1): Spoken => ({
    channel: `${who}-${verb.split('/')[0]}-down`,
    action: 'send',
    address: `${ROOT}/${path}/down/${verb}`,
    summary,
    message,
    qos,
  });
  const both = ([who, path]: readonly [string, string]): Spoken[] => [
    said(who, path, 'want', 'Want', 'Asks for objects of a bundle under a credit window.'),
    said(who, path, 'statement', 'Signed', 'A signed statement: confirmation or inventory (payload: Statement).'),
    said(who, path, 'progress', 'Progress', 'Progress for people; lossy.', 0),
    said(who, path, 'time', 'TimeQuestion', 'What is the time? Asked with a nonce.'),
    heard(who, path, 'offer', 'Offer', 'The bundle of a group changed; no content.'),
    heard(who, path, `object/${OBJECT_TAIL}`, 'Object', 'One part of an object, raw bytes.', 0),
    heard(who, path, 'absent', 'Absent', 'Objects that are unknown or not for the asker: the same answer for both.'),
    heard(
      who,
      path,
      'receipt',
      'Receipts',
      'The word of the provider on statements, under one signed head of its log (payload of the head: TreeHead; receipt: Receipt).',
    ),
    heard(who, path, 'refused', 'Refused', 'A publish was refused.'),
  ];
  return [
    said('gateway', GATEWAY, 'hello', 'GatewayHello', 'State at every connect.'),
    said('gateway', GATEWAY, 'seen', 'Seen', 'Devices seen on the LAN, and the counters of the line.'),
    heard('gateway', GATEWAY, 'time', 'Signed', 'The time, signed over the nonce of the question (payload: TimeStatement).'),
    heard('device', DEVICE, 'time', 'TimeAnswer', 'The time as the provider signed it, and how the nonce of this device leads to what is signed.'),
    said('device', DEVICE, 'key', 'SignedKeyQuestion', 'Asks for the keys of its group (payload: KeyQuestion).'),
    heard('device', DEVICE, 'key', 'KeyAnswer', 'The keys of its group, readable by the device alone; nothing for whoever is not entitled.'),
    said('gateway', GATEWAY, 'key', 'KeyQuestions', 'Such questions of devices at its site.'),
    heard('gateway', GATEWAY, 'key', 'KeyAnswers', 'The answers to them, each for one device.'),
    said('gateway', GATEWAY, 'enrol', 'EnrolForward', 'Passes on a request for a certificate that came over the enrolment protocol on the LAN.'),
    heard('gateway', GATEWAY, 'enrolled', 'EnrolReply', 'The answer to it.'),
    ...both(['gateway', GATEWAY]),
    said('device', DEVICE, 'hello', 'DeviceHello', 'State at every connect.'),
    ...both(['device', DEVICE]),
    {
      channel: 'group-offer',
      action: 'send',
      address: `${ROOT}/${SCOPE}/announce/offer`,
      summary: 'The gateway holds a new complete bundle of the group.',
      message: 'Offer',
      qos: 1,
    },
    {
      channel: 'group-peers',
      action: 'send',
      address: `${ROOT}/${SCOPE}/announce/peers`,
      summary: 'Where devices of the group were last proven to be.',
      message: 'Peers',
      qos: 1,
    },
    {
      channel: 'ops-object',
      action: 'receive',
      address: `${ROOT}/${OPS}/up/object/{sha256}/{part}/{parts}`,
      summary: 'Uploads one part of an object of a release, raw bytes; the part that completes it is acknowledged when the object is durable.',
      message: 'Object',
      qos: 1,
    },
    heard('ops', OPS, 'refused', 'Refused', 'A publish was refused.'),
    ...Object.keys(EVENTS).map(
      (type): Spoken => ({
        channel: `event-${type}`,
        action: 'send',
        address: `${ROOT}/event/${type}`,
        summary: 'A state change, for ops; lossy.',
        message: `event.${type}`,
        qos: 0,
      }),
    ),
  ];
}

function channels(spoken: readonly Spoken[]): JsonObject {
  const found: JsonObject = {};
  for (const { channel, address, message } of spoken) found[channel] = channelOf(address, [message]);
  found['ops-request'] = channelOf(
    `${ROOT}/${OPS}/up/request`,
    Object.keys(OPS_ACTIONS).map((name) => `request.${name}`),
  );
  found['ops-reply'] = channelOf(
    `${ROOT}/${OPS}/down/reply`,
    Object.keys(OPS_ACTIONS).map((name) => `reply.${name}`),
  );
  return found;
}

function channelOf(address: string, names: readonly string[]): JsonObject {
  const parameters = [...address.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, PARAMETERS[name] ?? {}] as const);
  return {
    address,
    messages: Object.fromEntries(names.map((name) => [name, ref('messages', name)])),
    ...(parameters.length === 0 ? {} : { parameters: Object.fromEntries(parameters) }),
  };
}

function operations(spoken: readonly Spoken[]): JsonObject {
  const found: JsonObject = {};
  for (const { channel, action, summary, message, qos } of spoken) {
    found[`${action}-${channel}`] = {
      action,
      channel: ref('channels', channel),
      summary,
      messages: [inChannel(channel, message)],
      bindings: { mqtt: { qos } },
    };
  }
  for (const name of Object.keys(OPS_ACTIONS)) {
    found[`ops.${name}`] = {
      action: 'receive',
      channel: ref('channels', 'ops-request'),
      summary: `Ops action ${name}; the reply carries the id of its request.`,
      messages: [inChannel('ops-request', `request.${name}`)],
      reply: { channel: ref('channels', 'ops-reply'), messages: [inChannel('ops-reply', `reply.${name}`)] },
      bindings: { mqtt: { qos: 1 } },
    };
  }
  return found;
}

function messages(): JsonObject {
  const found: JsonObject = {};
  for (const name of Object.keys(PAYLOADS)) found[name] = { name, payload: ref('schemas', name) };
  found['Object'] = { name: 'Object', contentType: 'application/octet-stream', payload: { type: 'string', format: 'binary' } };
  for (const name of Object.keys(OPS_ACTIONS)) {
    const id = { type: 'string', format: 'uuid' };
    found[`request.${name}`] = {
      name: `request.${name}`,
      payload: {
        type: 'object',
        properties: { id, action: { const: name }, params: ref('schemas', `${name}.params`) },
        required: ['id', 'action', 'params'],
        additionalProperties: false,
      },
    };
    found[`reply.${name}`] = {
      name: `reply.${name}`,
      payload: {
        type: 'object',
        properties: { id, ok: { type: 'boolean' }, result: ref('schemas', `${name}.result`), error: ref('schemas', 'ErrorBody') },
        required: ['id', 'ok'],
        additionalProperties: false,
      },
    };
  }
  for (const type of Object.keys(EVENTS)) found[`event.${type}`] = { name: `event.${type}`, payload: ref('schemas', `event.${type}`) };
  return found;
}

/** Every payload as JSON schema (draft 7, AsyncAPI's own dialect), referring to each other by name. */
function schemas(): JsonObject {
  const registry = z.registry<{ id: string }>();
  const named: Record<string, z.ZodType> = {
    ...PAYLOADS,
    Statement,
    Receipt,
    TreeHead,
    TimeStatement,
    KeyQuestion,
    GroupKeys,
    EnrolRequest,
    EnrolAnswer,
    SignedRequest,
    ErrorBody,
  };
  for (const [name, { params, result }] of Object.entries(OPS_ACTIONS)) {
    named[`${name}.params`] = params;
    named[`${name}.result`] = result;
  }
  for (const [type, body] of Object.entries(EVENTS)) named[`event.${type}`] = body;
  const seen = new Map<z.ZodType, string>();
  const aliases: JsonObject = {};
  for (const [name, schema] of Object.entries(named)) {
    const first = seen.get(schema);
    if (first === undefined) {
      seen.set(schema, name);
      registry.add(schema, { id: name });
    } else aliases[name] = ref('schemas', first);
  }
  const generated = z.toJSONSchema(registry, { target: 'draft-7', io: 'input', uri: (id) => `#/components/schemas/${id}` });
  // zod puts what several schemas share (ids, hashes) under `__shared`; here they are schemas like the others.
  const text = JSON.stringify(generated.schemas).replaceAll('#/components/schemas/__shared#/definitions/', '#/components/schemas/');
  const { __shared: shared, ...own }: JsonObject = JSON.parse(text);
  const common = typeof shared === 'object' && shared !== null && !Array.isArray(shared) ? shared['definitions'] : undefined;
  const all = { ...(typeof common === 'object' && common !== null && !Array.isArray(common) ? common : {}), ...own };
  return { ...Object.fromEntries(Object.entries(all).map(([name, schema]) => [name, withoutNames(schema)])), ...aliases };
}

/** `$id`, `$schema` and zod's own ids would make the references mean something else inside this document. */
function withoutNames(json: Json): Json {
  if (Array.isArray(json)) return json.map(withoutNames);
  if (typeof json !== 'object' || json === null) return json;
  return Object.fromEntries(
    Object.entries(json)
      .filter(([key, value]) => key !== '$id' && key !== '$schema' && !(key === 'id' && typeof value === 'string'))
      .map(([key, value]) => [key, withoutNames(value)]),
  );
}

function server(host: string, description: string): JsonObject {
  return {
    host,
    protocol: 'mqtts',
    protocolVersion: '3.1.1',
    description,
    variables: { host: {}, port: { default: '8883' } },
    security: [ref('securitySchemes', 'mutualTls')],
  };
}

function ref(kind: 'messages' | 'schemas' | 'channels' | 'securitySchemes', name: string): JsonObject {
  return { $ref: kind === 'channels' ? `#/channels/${name}` : `#/components/${kind}/${name}` };
}

function inChannel(channel: string, message: string): JsonObject {
  return { $ref: `#/channels/${channel}/messages/${message}` };
}
