import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { loadTimelessCredentials } from '../certs/credentials.ts';
import { LiveCredentials } from '../certs/live-credentials.ts';
import { type Clock, momentOf } from '../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { type GatewayIdentity, type Identity, identityPath } from '../shared/base/identity.ts';
import { MAX_OUTBOX_PER_DEVICE } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import { bytesPerSecond } from '../shared/base/rate-plan.ts';
import { parseBundle } from '../shared/bundle/bundle.ts';
import { createBonjourDiscovery } from '../shared/net/bonjour.ts';
import { createChunkHandler } from '../shared/net/chunk-server.ts';
import type { Discovery } from '../shared/net/discovery.ts';
import { openDoor } from '../shared/net/door.ts';
import { createEmbeddedBroker } from '../shared/net/embedded-broker.ts';
import { askForLeaf } from '../shared/net/enrol/ask.ts';
import { EnrolCounter } from '../shared/net/enrol/counter.ts';
import { type AskRenewal, keepLeafFresh } from '../shared/net/enrol/renewal.ts';
import { ObjectPuller } from '../shared/net/exchange/puller.ts';
import { ObjectServer } from '../shared/net/exchange/server.ts';
import { openLink } from '../shared/net/link.ts';
import { openMetricsDoor } from '../shared/net/metrics-door.ts';
import { Revocations } from '../shared/net/revocations.ts';
import { entitledChunks } from '../shared/net/swarm/entitled.ts';
import { Timekeeper } from '../shared/net/timekeeper.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { Outbox } from '../shared/store/outbox.ts';
import { openState } from '../shared/store/state.ts';
import { Table } from '../shared/store/table.ts';
import { refreshGroupView } from '../shared/trust/client.ts';
import { readFactoryRoot } from '../shared/trust/factory-root.ts';
import { notSignedBefore } from '../shared/trust/signing-time.ts';
import { mayEnter } from '../shared/wire/policy.ts';
import { revocationsOf, toldOf } from '../shared/wire/revocation.ts';
import { announce } from '../shared/wire/topics.ts';
import { BundleLedger, BundleLedgerRecord } from './bundle-ledger.ts';
import type { GatewayConfig } from './config.ts';
import { Enrolments } from './enrolments.ts';
import { Ledger, LedgerRecord } from './ledger.ts';
import { LogHead } from './log-head.ts';
import { printMessage } from './message.ts';
import { gatewayMetrics } from './metrics.ts';
import { Forwarder } from './outbox/forwarder.ts';
import { keyOf, outdated, ownerOf } from './outbox/statements.ts';
import { ProgressThrottle } from './progress-throttle.ts';
import { ChunkPull } from './relay/chunk-pull.ts';
import { LineLimit } from './relay/line-limit.ts';
import { recallRevocations } from './relay/recall-revocations.ts';
import { Relay } from './relay/relay.ts';
import { remoteMetadata } from './relay/remote-metadata.ts';
import { ViewStore } from './relay/view-store.ts';
import { Views } from './relay/views.ts';
import { Retention } from './retention/retention.ts';
import { Seeder } from './seed/seeder.ts';
import { Seen, SeenRecord } from './seen/seen.ts';
import { Bundles } from './serve/bundles.ts';
import { Devices } from './serve/devices.ts';
import { KeyRelay } from './serve/key-relay.ts';
import { TimeRelay } from './serve/time-relay.ts';
import { Uplink } from './uplink.ts';

const MIB = 1024 * 1024;

export interface GatewayOptions {
  readonly config: GatewayConfig;
  /** Of this software, told to the provider. */
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1); spreads retries. */
  readonly random?: () => number;
  /** mDNS on the LAN's interface, unless a test says otherwise. */
  readonly discovery?: Discovery;
}

export interface Gateway {
  readonly identity: GatewayIdentity;
  /** Of the LAN door. */
  readonly port: number;
  /** Rejects, if ever, with why a part that it cannot do without has ended. */
  readonly failed: Promise<never>;
  /** Stops cleanly; nothing that was acknowledged is lost by it, nor by a kill. */
  close(): Promise<void>;
}

/**
 * Starts a gateway: serves what is complete on its disk at once, and keeps it current whenever the line is up.
 * @throws KEY_UNUSABLE, CERT_*, CONFIG_INVALID, STORAGE_FAILED, CONNECTION_FAILED (the LAN address cannot be listened on)
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, log, random = Math.random } = options;
  const credentials = new LiveCredentials(await loadTimelessCredentials(config.credentials));
  const gateway = gatewayOf(credentials.identity, config.credentials);
  const site = { customer: gateway.customer, site: gateway.site };
  const factoryRoot = await readFactoryRoot(config.root);
  const timekeeper = await Timekeeper.open({ directory: config.data, credentials, clock: options.clock, log });
  // Certificates and metadata are judged by what is known of the time, not by what this machine believes.
  const clock = timekeeper.time;

  await using stack = new AsyncDisposableStack();
  const stopping = new AbortController();
  const { signal } = stopping;
  const running: Promise<void>[] = [];
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  /** What runs until the gateway stops. Without a vital part it must not go on as if nothing had happened: a restart is better. */
  const run = (what: string, work: Promise<void>, vital = true): void => {
    const onError = (error: unknown): void => {
      if (signal.aborted) return;
      const failure = toWardcastError(error);
      log.error('gateway.part-failed', { what, error: failure });
      if (vital) failed.reject(failure);
    };
    running.push(work.catch(onError));
  };

  const state = await openState(join(config.data, 'state'));
  stack.defer(() => state.close());
  const store = await DiskChunkStore.open(join(config.data, 'chunks'), { log });
  const outbox = await Outbox.open(state, { share: { of: ownerOf, capacity: MAX_OUTBOX_PER_DEVICE } });
  const ledger = await Ledger.open(new Table(state, 'ledger', LedgerRecord), () => store.bytes);
  stack.defer(() => ledger.save());
  const moved = await BundleLedger.open(new Table(state, 'bundle-ledger', BundleLedgerRecord), store);
  stack.defer(() => moved.save());
  stack.defer(async () => {
    await Promise.all(running);
  });
  const revocations = new Revocations(log);
  await recallRevocations(join(config.data, 'trust'), site, revocations, log);
  const viewStore = new ViewStore({ directory: join(config.data, 'views'), site, log });
  const views = new Views();
  for (const [group, served] of await viewStore.load()) {
    views.set(group, served);
    // Beside the trusted state: should that be damaged, what is served still says whom to keep out.
    const bundle = served.current.targets.get(served.current.bundleHash);
    if (bundle !== undefined) revocations.learn(`complete/${group}`, revocationsOf(parseBundle(bundle)));
    moved.gathers(group, served.current.sequence);
  }

  // The line.
  const link = openLink({
    host: config.uplink.host,
    port: config.uplink.port,
    ...(config.uplink.server_name === undefined ? {} : { serverName: config.uplink.server_name }),
    credentials,
    expect: (identity) => identity.role === 'provider',
    log,
    clock,
    random,
    signal,
  });
  stack.defer(() => link.close());
  ledger.follow(() => link.traffic().received);
  const line = new LineLimit({ plan: config.uplink.limit, clock: clock.calendar, log });
  const puller = new ObjectPuller({ link, identity: gateway, log, clock, pace: line.pace });
  stack.defer(() => puller.close());
  const chunks = new ChunkPull({
    store: moved.counting(store),
    ask: (pull, pullSignal) =>
      moved.pull(pull, () => puller.get({ group: pull.group, kind: 'chunk', name: pull.hash }, { size: pull.size, signal: pullSignal })),
    log,
  });
  stack.defer(() => chunks.close());
  const forwarder = new Forwarder({
    outbox,
    send: (bytes) => uplink.statement(bytes),
    outdated: (stored) => outdated(stored, { rootPem: credentials.rootPem, ...momentOf(clock) }),
    clock,
    log,
  });
  stack.defer(() => forwarder.close());

  // The LAN.
  const broker = createEmbeddedBroker({ log, clock });
  stack.defer(() => broker.close());
  const bundles = new Bundles({
    gateway,
    views,
    store,
    chunks,
    lineUp: () => link.state === 'up',
    onSent: (...sent) => moved.sent(...sent),
    // Expiry may err to the careful side; a lower bound of the time would never come to it after a restart.
    clock: timekeeper.time.calendar,
    log,
  });
  const seeder = new Seeder({
    find: (device, manifest) => entitledChunks(device, bundles.find(device, device), manifest),
    lacking: (device, manifest, indexes) => bundles.prepare(device.group, manifest, indexes),
    rate: () => bytesPerSecond(config.lan.limit, new Date(clock.guess())),
    sent: (device, manifest, bytes) => bundles.sent(device.group, manifest, bytes),
    clock,
    log,
    random,
  });
  stack.defer(() => seeder.close());
  const objects = new ObjectServer({ broker, log, read: bundles.read });
  stack.defer(() => objects.close());
  const throttle = new ProgressThrottle(clock);
  const addresses = new Map<string, string>();
  const seen = await Seen.open({
    table: new Table(state, 'seen', SeenRecord),
    site,
    line: () => ({ received: ledger.received, unique: ledger.unique }),
    content: () => moved.told(),
    ownClock: () => timekeeper.told,
    report: (message) => uplink.seen(message),
    revoked: (group) => toldOf({ ...site, group }, revocations.list(group)),
    peers: (scope, peers) => {
      broker.publish(announce(scope, 'peers'), printMessage(peers)).catch((error: unknown) => log.warn('seen.not-announced', { group: scope.group, error }));
    },
    clock: clock.calendar,
    log,
  });
  const times = new TimeRelay({ send: (question) => uplink.time(question), lineUp: () => uplink.up, clock, signal });
  const groupKeys = new KeyRelay({
    send: (questions) => uplink.groupKeys(questions),
    lineUp: () => uplink.up,
    deliver: (device, answer) => devices.groupKeys(device, answer),
    site,
    log,
  });
  const devices = new Devices({
    groupKeys: (device, question) => groupKeys.ask(device, question),
    time: (who, question, reply) => times.ask(who, question, reply),
    broker,
    objects,
    views,
    forwarder,
    hello: (device, hello) => seen.hello(device, hello, addresses.get(identityPath(device)) ?? ''),
    progress: (progress) => {
      if (throttle.passes(progress)) uplink.progress(progress);
      if (progress.phase === 'done') seen.touch();
    },
    rootPem: credentials.rootPem,
    clock,
    log,
  });
  broker.onPresence(({ identity, address, connected }) => {
    if (identity.role !== 'device') return;
    if (connected) addresses.set(identityPath(identity), address);
    else {
      addresses.delete(identityPath(identity));
      seen.left(identity);
    }
  });

  // What the line brings is for the LAN.
  const retention = new Retention({
    store,
    views,
    retired: new Table(state, 'retired', z.int().min(0)),
    budget: config.retention.budget_mib * MIB,
    deleting: async (work) => {
      await moved.save();
      await ledger.deleting(work);
    },
    clock,
    log,
  });
  const relay = new Relay(site, {
    views,
    viewStore,
    chunks,
    line,
    refresh: async (scope, highest, refreshSignal) => {
      const view = await refreshGroupView({
        directory: join(config.data, 'trust', scope.group),
        factoryRoot,
        scope,
        source: remoteMetadata((ref, o) => puller.get(ref, o), scope.group),
        log,
        signal: refreshSignal,
        highest,
        now: new Date(clock.guess()),
      });
      // At once, not when its last chunk is here: that may take hours.
      const before = JSON.stringify(revocations.list(scope.group));
      revocations.learn(scope.group, revocationsOf(view.bundle));
      if (JSON.stringify(revocations.list(scope.group)) !== before) seen.revoked(scope.group);
      timekeeper.evidence(notSignedBefore(view));
      moved.gathers(scope.group, view.bundle.sequence);
      return view;
    },
    retention,
    offered: (view) => devices.announce(view),
    progress: (progress) => {
      uplink.progress(progress);
      // What the line cost is told when a bundle is done, not all along: the list of devices travels with it.
      if (progress.phase !== 'relaying') seen.touch();
    },
    clock,
    random,
    log,
  });
  stack.defer(() => relay.close());
  let stopAsking: (() => void) | undefined;
  const enrolments = new Enrolments({ send: (forward) => uplink.enrol(forward) });
  const counter = new EnrolCounter({ answer: (request, asker) => enrolments.ask(request, asker), clock, log });
  const logHead = await LogHead.open({ directory: config.data, ask: () => uplink.hello(), clock, log });
  const uplink = new Uplink({
    link,
    gateway,
    rootPem: credentials.rootPem,
    version: options.version,
    groups: () => views.held(),
    offer: (offer) => relay.offer(offer),
    head: () => logHead.point,
    headShown: (opened) => logHead.shown(opened),
    receipt: async (device, receipt, bytes) => {
      await forwarder.received(keyOf(receipt));
      await devices.receipt(device, bytes);
    },
    time: (bytes) => times.answered(bytes),
    groupKeys: (bytes) => groupKeys.answered(bytes),
    enrolled: (reply) => enrolments.answered(reply),
    lineUp: () => {
      times.lineUp();
      groupKeys.lineUp();
      stopAsking = timekeeper.connected((question) => times.ask(identityPath(gateway), question, (answer) => timekeeper.answered(printMessage(answer))));
      forwarder.lineUp();
      seen.touch();
    },
    lineDown: () => {
      stopAsking?.();
      forwarder.lineDown();
    },
    clock,
    log,
  });

  timekeeper.onClock(() => seen.touch());
  run('time', timekeeper.run(signal));
  run('devices', devices.run(signal));
  run('seen', seen.run(signal));
  run('ledger', ledger.run(clock, log, signal));
  run('bundle-ledger', moved.run(clock, log, signal));
  run('outbox', forwarder.run());
  run('renewal', keepLeafFresh({ directory: config.credentials, ask: askProvider(config, clock), clock: clock.calendar, log, random, credentials }, signal));
  const door = await openDoor({
    host: config.lan.host,
    port: config.lan.port,
    credentials,
    log,
    clock,
    accept: (identity) => mayEnter(gateway, identity),
    revocations,
    onMqtt: (socket, identity) => broker.attach(socket, identity),
    onHttp: createChunkHandler({ log, bundles: bundles.give }),
    onSwarm: (socket, identity) => seeder.attach(socket, identity),
    onEnrol: (socket) => counter.attach(socket),
  });
  stack.defer(() => door.close());
  if (config.metrics !== undefined) {
    const metrics = gatewayMetrics({ ledger, moved, views, forwarder, link, door, devices: () => addresses.size, time: timekeeper.time, logHead });
    const metricsDoor = await openMetricsDoor({ ...config.metrics, metrics, log });
    stack.defer(() => metricsDoor.close());
  }
  run('uplink', uplink.run(signal));
  const discovery = options.discovery ?? createBonjourDiscovery({ interface: config.lan.interface ?? config.lan.host, log, clock });
  stack.defer(() => discovery.close());
  const advert = await discovery.advertise({ kind: 'gateway', port: door.port, instance: randomUUID() });
  stack.defer(() => advert.close());
  run('browse', seen.browse(discovery, signal), false);

  stack.defer(() => stopping.abort(new WardcastError('ABORTED', 'The gateway is stopping')));
  const stop = stack.move();
  log.info('ready', { port: door.port, gateway: identityPath(gateway), groups: views.groups() });
  return {
    identity: gateway,
    port: door.port,
    failed: failed.promise,
    close: () => stop.disposeAsync(),
  };
}

/** A gateway's own leaf is renewed at the provider's door: also when it has expired, and MQTT lets it in no more. */
function askProvider({ uplink: { host, port, server_name: serverName } }: GatewayConfig, clock: Clock): AskRenewal {
  const expect = (identity: Identity): boolean => identity.role === 'provider';
  return async (request, { rootPem, signal }) => (await askForLeaf({ host, port, serverName, rootPem, expect, clock, signal }, request)).answer;
}

function gatewayOf(identity: Identity, directory: string): GatewayIdentity {
  if (identity.role === 'gateway') return identity;
  throw new WardcastError('CERT_WRONG_ROLE', `The credentials in ${directory} are those of ${identityPath(identity)}, which is no gateway`, {
    remedy: 'Issue credentials for this gateway with `wardcast pki`.',
  });
}
