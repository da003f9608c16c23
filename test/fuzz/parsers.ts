import { createHash } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { AgentConfig } from '../../agent/config.ts';
import { openReceipt } from '../../agent/confirm/receipt.ts';
import { readCertificate } from '../../certs/certificate.ts';
import { loadCredentials } from '../../certs/credentials.ts';
import { readDer, readOnly, TAG } from '../../certs/der.ts';
import { open } from '../../certs/envelope.ts';
import { verifyChain } from '../../certs/identity.ts';
import { readPemChain } from '../../certs/pem.ts';
import { GatewayConfig } from '../../gateway/config.ts';
import { readMessage } from '../../gateway/message.ts';
import { ProviderConfig } from '../../provider/config.ts';
import { readEnvelope, readStatement } from '../../provider/record/statement.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { loadConfig } from '../../shared/base/config.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { identityPath, parseSpiffeId } from '../../shared/base/identity.ts';
import { CHUNK_MAX } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import { parseBundle, printBundle } from '../../shared/bundle/bundle.ts';
import { parseManifest, printManifest } from '../../shared/bundle/manifest.ts';
import { checkPath, collisionKey } from '../../shared/bundle/path.ts';
import { checkShape, IdText, parseJson } from '../../shared/bundle/strict-json.ts';
import { FrameParser, parseHashes } from '../../shared/net/chunk-frames.ts';
import { parseObjectTopic, parseUploadTopic } from '../../shared/net/exchange/object-ref.ts';
import { ResponseParser } from '../../shared/net/http-response.ts';
import { parseAdverts } from '../../shared/net/mdns-records.ts';
import { CONNECT, PacketGuard } from '../../shared/net/packet-guard.ts';
import { readNotice, serverNotice } from '../../shared/net/refusal-notice.ts';
import { FrameReader } from '../../shared/net/swarm/frames.ts';
import { refreshGroupView } from '../../shared/trust/client.ts';
import { publicOfEncrypted } from '../../shared/trust/encrypted-key.ts';
import { delegationsIn, inspectForeign, inspectMetadata, parseRoot, releasesIn, verifyReleaseRole } from '../../shared/trust/inspect.ts';
import { signingKeyFromPem, verificationKey, verificationKeyFrom } from '../../shared/trust/keys.ts';
import { matchesPattern } from '../../shared/trust/path-pattern.ts';
import { checkSuccession, countSignatures } from '../../shared/trust/root-draft.ts';
import { GatewayHello, Offer, OpsRequest, Progress, Refused, Seen, Signed, TimeAnswer, TimeQuestion, TimeStatement, Want } from '../../shared/wire/messages.ts';
import { covers, mayPublish, mayRead } from '../../shared/wire/policy.ts';
import { downFilter, parseDown, parseUp } from '../../shared/wire/topics.ts';
import { SCOPE, TestSource, testKey } from '../shared/trust/fixture.ts';
import { DEVICE, DEVICE_B, GATEWAY, OPS } from '../support/bad-certificates.ts';
import { httpResponse } from './attack/http.ts';
import { mqttStream } from './attack/mqtt.ts';
import { stolenKeys } from './attack/stolen-keys.ts';
import { frameBytes } from './attack/swarm.ts';
import { topicText } from './attack/topics.ts';
import { type Law, law, lawfully } from './law.ts';
import { anyBytes, mutated, mutatedJson, strangeJson } from './mutation.ts';
import { patchLaws } from './patch-laws.ts';
import type { Samples } from './samples.ts';
import { wireLaws } from './wire-laws.ts';

/** Every reader of what others wrote, alone: a value, or an error with a code; in bounded time. */
export async function parserLaws(samples: Samples): Promise<Law[]> {
  return [...formats(samples), ...trust(samples), ...certificates(samples), ...wire(samples), ...wireLaws(samples), ...files(samples), ...(await patchLaws())];
}

function formats({ release, repository }: Samples): Law[] {
  const manifests = [release.bytes];
  const bundles = [...repository.targets.values()].filter((bytes) => bytes.includes('"sequence"'));
  return [
    law('manifests: what is read is printed again byte for byte, the rest is refused', fc.oneof(anyBytes(manifests), mutatedJson(manifests)), (bytes) =>
      lawfully(() => same(printManifest(parseManifest(bytes)), bytes)),
    ),
    law('bundles: what is read is printed again byte for byte, the rest is refused', fc.oneof(anyBytes(bundles), mutatedJson(bundles)), (bytes) =>
      lawfully(() => same(printBundle(parseBundle(bytes)), bytes)),
    ),
    law('strict JSON', anyBytes([...manifests, ...bundles]), (bytes) => lawfully(() => parseJson(bytes, 1 << 20, 'MANIFEST_INVALID', 'sample'))),
    law('paths of releases', fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), topicText), (text) =>
      lawfully(() => {
        checkPath(text);
        collisionKey(text);
        if (text.split('/').includes('..') || text.startsWith('/') || text.includes('\0')) throw new Error(`${JSON.stringify(text)} was taken for safe`);
      }),
    ),
    law('shapes', strangeJson, (value) => lawfully(() => checkShape(IdText, value, 'BUNDLE_INVALID', 'sample'))),
  ];
}

function trust({ directory, vendor, repository, named, encryptedKey }: Samples): Law[] {
  const metadata = [...repository.files.values(), ...vendor.roots];
  const [factoryRoot = Buffer.alloc(0), nextRoot = Buffer.alloc(0)] = vendor.roots;
  const roles = [...vendor.roles.values()];
  const text = fc.oneof(anyBytes(metadata), mutatedJson(metadata));
  let run = 0;
  return [
    law(
      'signed metadata of every role, unverified',
      fc.tuple(text, fc.constantFrom('root', 'targets', 'snapshot', 'timestamp', 'release-viewer', 'assignment')),
      async ([bytes, role]) => {
        await lawfully(() => inspectMetadata(role, bytes));
        await lawfully(() => inspectForeign(role, bytes));
        await lawfully(() => parseRoot(bytes));
        await lawfully(() => delegationsIn(bytes));
        await lawfully(() => releasesIn('viewer', bytes));
      },
    ),
    law('release roles that an uploader brings', fc.oneof(anyBytes(roles), mutatedJson(roles)), (role) =>
      lawfully(() => verifyReleaseRole({ root: factoryRoot, targets: vendor.targets, application: 'viewer', role, now: new Date() })),
    ),
    law('roots on their way through a ceremony', fc.oneof(anyBytes([nextRoot]), mutatedJson([nextRoot])), async (bytes) => {
      await lawfully(() => countSignatures(bytes, factoryRoot));
      await lawfully(() => countSignatures(factoryRoot, bytes));
      await lawfully(() => checkSuccession(factoryRoot, bytes));
    }),
    law(
      'keys from files',
      fc.tuple(
        anyBytes([
          Buffer.from(testKey('x').privateKey.export({ type: 'pkcs8', format: 'pem' })),
          testKey('x').publicKey.export({ type: 'spki', format: 'der' }),
          encryptedKey,
        ]),
        fc.string(),
      ),
      async ([bytes, hex]) => {
        await lawfully(() => signingKeyFromPem('sample', bytes));
        await lawfully(() => verificationKeyFrom('sample', bytes));
        await lawfully(() => publicOfEncrypted('sample', bytes));
        await lawfully(() => verificationKey(hex));
      },
    ),
    law('path patterns of delegations', fc.tuple(topicText, topicText), ([path, pattern]) => lawfully(() => matchesPattern(path, pattern))),
    law(
      'an agent that the holder of the online keys talks to: an error, or only releases that the release keys list',
      stolenKeys(repository, vendor.keys),
      async ({ files, targets }) => {
        run += 1;
        const folder = join(directory, `view-${run}`);
        const source = new TestSource(files, targets, repository.versions);
        try {
          await lawfully(async () => {
            const view = await refreshGroupView({ directory: folder, factoryRoot, scope: SCOPE, log: silentLog, source });
            const listed = new Set(named.map(({ manifest }) => manifest));
            for (const hash of view.manifests.keys()) if (!listed.has(hash)) throw new Error(`${hash} is no release that the release keys signed`);
            const { customer, site, group } = view.bundle;
            if (customer !== SCOPE.customer || site !== SCOPE.site || group !== SCOPE.group) throw new Error('a bundle of another group was taken');
          });
        } finally {
          await rm(folder, { recursive: true, force: true });
        }
      },
      15,
    ),
  ];
}

function certificates({ workshop, device, envelope, receipt }: Samples): Law[] {
  const ders = [...device.chain];
  const pems = [Buffer.from(device.chainPem), Buffer.from(device.rootPem)];
  const now = workshop.now;
  return [
    law('DER', anyBytes(ders), async (bytes) => {
      await lawfully(() => readDer(bytes));
      await lawfully(() => readOnly(bytes, TAG.sequence));
    }),
    law('certificates', anyBytes(ders), (bytes) => lawfully(() => readCertificate(bytes)), 100),
    law(
      'chains: only the genuine one has an identity',
      fc.array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...ders) }, { weight: 1, arbitrary: mutated(ders) }), { maxLength: 6 }),
      (chain) =>
        lawfully(() => {
          const { identity } = verifyChain(chain, device.rootPem, { now, usage: 'signature' });
          if (identityPath(identity) !== identityPath(DEVICE)) throw new Error(`became ${identityPath(identity)}`);
        }),
      40,
    ),
    law('PEM', anyBytes(pems), (bytes) => lawfully(() => readPemChain(bytes.toString('utf8'))), 100),
    law(
      'identities',
      fc.oneof(
        fc.string({ unit: 'binary' }),
        topicText.map((text) => `spiffe://example.com/${text}`),
      ),
      (uri) => lawfully(() => parseSpiffeId(uri)),
    ),
    law(
      'envelopes and statements: only what the device signed is opened',
      fc.oneof(anyBytes([envelope]), mutatedJson([envelope])),
      (bytes) =>
        lawfully(() => {
          const { identity, payload } = open(readEnvelope(bytes), device.rootPem, { now });
          if (identityPath(identity) !== identityPath(DEVICE)) throw new Error('somebody else signed');
          readStatement(payload);
        }),
      60,
    ),
    law(
      'receipts',
      fc.oneof(anyBytes([receipt, envelope]), mutatedJson([receipt])),
      (bytes) => {
        if (DEVICE.role !== 'device') return undefined;
        const who = DEVICE;
        return lawfully(() => openReceipt(bytes, who, device.rootPem, { now }));
      },
      60,
    ),
  ];
}

function wire({ statement }: Samples): Law[] {
  const messages = [
    statement,
    { group: 'ct', kind: 'chunk', names: ['ab'.repeat(32)] },
    { group: 'ct', sequence: 1, timestampVersion: 2 },
    { id: '00000000-0000-4000-8000-000000000000', action: 'status', params: {} },
    { version: '1.0.0', groups: [{ group: 'ct', sequence: 1 }] },
    { topic: 'a', code: 'DENIED', message: 'no' },
  ].map((message) => (Buffer.isBuffer(message) ? message : Buffer.from(JSON.stringify(message))));
  return [
    law('frames of the swarm', fc.tuple(frameBytes, fc.integer({ min: 1, max: 5000 })), ([bytes, size]) =>
      lawfully(() => {
        const reader = new FrameReader();
        for (const piece of pieces(bytes, size)) reader.push(piece, () => undefined);
      }),
    ),
    law(
      'frames of chunks over https',
      fc.tuple(anyBytes([Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from('abc'), Buffer.from([255, 255, 255, 255])])]), fc.integer({ min: 1, max: 60 })),
      async ([bytes, size]) => {
        await lawfully(() => {
          const parser = new FrameParser(CHUNK_MAX);
          for (const piece of pieces(bytes, size)) for (const _frame of parser.push(piece));
        });
        await lawfully(() => parseHashes(bytes));
      },
    ),
    law('http responses', fc.tuple(httpResponse, fc.integer({ min: 1, max: 300 })), ([bytes, size]) =>
      lawfully(() => {
        const parser = new ResponseParser({ onHead: () => undefined, onBody: () => undefined });
        for (const piece of pieces(bytes, size)) parser.push(piece);
      }),
    ),
    law('the packet guard', fc.tuple(mqttStream, fc.integer({ min: 1, max: 3000 })), ([bytes, size]) =>
      lawfully(() => {
        const guard = new PacketGuard({ first: CONNECT });
        for (const piece of pieces(bytes, size)) guard.push(piece);
      }),
    ),
    law('words of refusal', anyBytes([serverNotice(new WardcastError('DENIED', 'no'))]), (bytes) => lawfully(() => readNotice(bytes))),
    law('topics: nobody reads or says what belongs to others', topicText, (text) =>
      lawfully(() => {
        parseUp(text);
        parseDown(DEVICE, text);
        parseUploadTopic(text.split('/'));
        parseObjectTopic(text.split('/'));
        for (const identity of [DEVICE, GATEWAY, OPS]) {
          mayPublish(identity, text);
          if (mayRead(identity, text) && covers(text, downFilter(DEVICE_B)))
            throw new Error(`${identityPath(identity)} may read another device's topics by ${JSON.stringify(text)}`);
        }
      }),
    ),
    law(
      'messages',
      fc.oneof(anyBytes(messages), mutatedJson(messages)),
      async (bytes) => {
        for (const read of MESSAGES) await lawfully(() => read(bytes));
        await lawfully(() => readStatement(bytes));
      },
      60,
    ),
    law('mDNS records', strangeRecords, (packet) => lawfully(() => parseAdverts(packet, 'agent'))),
  ];
}

function files({ directory, device }: Samples): Law[] {
  const configs = [
    'data = "data"\ncredentials = "c"\nroot = "root.json"\n[uplink]\nhost = "h"\nport = 1\n[uplink.limit]\nmbit = 4\n[[uplink.limit.windows]]\nfrom = "08:00"\nto = "18:00"\nmbit = 1\n[lan]\nhost = "127.0.0.1"\n',
    'data = "data"\ncredentials = "c"\nroot = "r"\n[gateway]\naddress = "127.0.0.1:1"\n[lan]\nhost = "127.0.0.1"\n[install]\ndirectory = "i"\n[swarm]\nshare = "auto"\n',
    'data = "data"\ncredentials = "c"\ntrust = "t"\nkeys = "k"\nlisten = { host = "0.0.0.0", port = 8883 }\n',
  ].map((text) => Buffer.from(text));
  const schemas = { provider: ProviderConfig, gateway: GatewayConfig, agent: AgentConfig };
  return [
    law(
      'configuration files',
      fc.tuple(anyBytes(configs), fc.constantFrom('provider', 'gateway', 'agent')),
      async ([bytes, daemon]) => {
        const file = join(directory, `${daemon}.toml`);
        await writeFile(file, bytes);
        await lawfully(() => loadConfig(file, schemas[daemon]));
      },
      60,
    ),
    law(
      'credentials folders',
      fc.tuple(mutated([Buffer.from(device.chainPem)]), mutated([Buffer.from(device.keyPem)]), mutated([Buffer.from(device.rootPem)])),
      async ([chain, key, root]) => {
        const folder = directory;
        await writeFile(join(folder, 'chain.pem'), chain);
        await writeFile(join(folder, 'root.pem'), root);
        await writeFile(join(folder, 'key.pem'), key, { mode: 0o600 });
        await lawfully(() => loadCredentials(folder, systemClock));
      },
      30,
    ),
  ];
}

const MESSAGES: readonly ((bytes: Buffer) => unknown)[] = [
  (bytes) => readMessage(GatewayHello, bytes),
  (bytes) => readMessage(Offer, bytes),
  (bytes) => readMessage(OpsRequest, bytes),
  (bytes) => readMessage(Progress, bytes),
  (bytes) => readMessage(Refused, bytes),
  (bytes) => readMessage(Seen, bytes),
  (bytes) => readMessage(Signed, bytes),
  (bytes) => readMessage(TimeAnswer, bytes),
  (bytes) => readMessage(TimeQuestion, bytes),
  (bytes) => readMessage(TimeStatement, bytes),
  (bytes) => readMessage(Want, bytes),
];

const recordName = fc.oneof(fc.constantFrom('_wardcast-agent._tcp.local', 'x._wardcast-agent._tcp.local'), fc.string());
const strangeRecords = fc.record({
  answers: fc.oneof(
    fc.array(
      fc.oneof(
        fc.record({
          type: fc.constantFrom('PTR', 'SRV', 'TXT', 'A'),
          name: recordName,
          ttl: fc.oneof(fc.nat(), strangeJson),
          data: fc.oneof(recordName, strangeJson, fc.array(fc.uint8Array())),
        }),
        strangeJson,
      ),
    ),
    strangeJson,
  ),
  additionals: fc.oneof(fc.array(strangeJson), strangeJson),
});

function same(printed: Buffer, bytes: Buffer): void {
  if (!printed.equals(bytes)) throw new Error(`two forms of one thing: ${createHash('sha256').update(printed).digest('hex')}`);
}

function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}
