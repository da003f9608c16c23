import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { buildAsyncApi } from '../../shared/wire/asyncapi.ts';
import { EVENTS, OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { ROOT, UP_VERBS } from '../../shared/wire/topics.ts';

type Node = Record<string, unknown>;
const manifest: { version: string } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
const document = JSON.parse(JSON.stringify(buildAsyncApi(manifest.version)));

/** Every object of the document with the path to it. */
function* objects(value: unknown, path = '#'): Generator<[string, Node]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [path, Object.fromEntries(Object.entries(value))];
  for (const [key, inner] of Object.entries(value)) yield* objects(inner, `${path}/${key}`);
}

function resolve(reference: string): unknown {
  if (!reference.startsWith('#/')) return undefined;
  let at: unknown = document;
  for (const key of reference.slice(2).split('/')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = new Map(Object.entries(at)).get(key);
  }
  return at;
}

function keys(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

describe('the AsyncAPI document', () => {
  it('is the one under docs/: run `npm run docs` after a change of the schemas', async () => {
    expect(JSON.parse(await readFile(new URL('../../docs/asyncapi.json', import.meta.url), 'utf8'))).toEqual(document);
  });

  it('has the parts that AsyncAPI 3.0.0 requires, and none that it does not know', () => {
    expect(document.asyncapi).toBe('3.0.0');
    expect(keys(document).sort()).toEqual(['asyncapi', 'channels', 'components', 'defaultContentType', 'info', 'operations', 'servers'].sort());
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    for (const name of [...keys(document.components.schemas), ...keys(document.components.messages)]) expect(name).toMatch(/^[\w.-]+$/);
    for (const server of Object.values(document.servers)) expect(server).toMatchObject({ host: expect.any(String), protocol: 'mqtts' });
  });

  it('resolves every reference inside itself', () => {
    const references = [...objects(document)].flatMap(([path, node]) => (typeof node['$ref'] === 'string' ? [[path, node['$ref']] as const] : []));
    expect(references.length).toBeGreaterThan(200);
    for (const [path, reference] of references) expect(resolve(reference), `${path} → ${reference}`).toBeDefined();
  });

  it('gives every channel an address under the root, declared parameters and messages', () => {
    for (const [name, channel] of Object.entries<Node>(document.channels)) {
      const address = String(channel['address']);
      expect(address.startsWith(`${ROOT}/`), name).toBe(true);
      expect(keys(channel['parameters']).sort(), name).toEqual([...new Set([...address.matchAll(/\{(\w+)\}/g)].map((match) => match[1]))].sort());
      expect(keys(channel['messages']).length, name).toBeGreaterThan(0);
    }
  });

  it('lets every operation use a channel and only messages of that channel', () => {
    for (const [name, operation] of Object.entries<{
      action: string;
      channel: { $ref: string };
      messages: { $ref: string }[];
      reply?: { channel: { $ref: string }; messages: { $ref: string }[] };
    }>(document.operations)) {
      expect(['send', 'receive'], name).toContain(operation.action);
      for (const { channel, messages } of [operation, ...(operation.reply === undefined ? [] : [operation.reply])]) {
        expect(channel.$ref).toMatch(/^#\/channels\//);
        for (const message of messages) expect(message.$ref.startsWith(`${channel.$ref}/messages/`), name).toBe(true);
      }
    }
  });

  it('shows every ops action with request and reply, every event and every verb that is said', () => {
    for (const name of Object.keys(OPS_ACTIONS)) {
      expect(document.operations[`ops.${name}`]).toMatchObject({ action: 'receive', reply: { channel: { $ref: '#/channels/ops-reply' } } });
    }
    for (const type of Object.keys(EVENTS)) expect(document.channels[`event-${type}`]).toMatchObject({ address: `${ROOT}/event/${type}` });
    const addresses = Object.values<{ address: string }>(document.channels).map((channel) => channel.address);
    for (const verb of UP_VERBS)
      expect(
        addresses.some((address) => new RegExp(`/up/${verb}(/|$)`).test(address)),
        verb,
      ).toBe(true);
  });
});
