import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { type Credentials, loadTimelessCredentials } from '../certs/credentials.ts';
import { LiveCredentials } from '../certs/live-credentials.ts';
import type { Clock } from '../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { type DeviceIdentity, type Identity, identityPath } from '../shared/base/identity.ts';
import type { Log } from '../shared/base/log.ts';
import { bytesPerSecond } from '../shared/base/rate-plan.ts';
import type { ContentKeys } from '../shared/bundle/content-key.ts';
import { decide } from '../shared/bundle/decide.ts';
import { createBonjourDiscovery } from '../shared/net/bonjour.ts';
import { HttpsChunkSource } from '../shared/net/chunk-client.ts';
import { createChunkHandler } from '../shared/net/chunk-server.ts';
import type { Discovery } from '../shared/net/discovery.ts';
import { type Door, openDoor } from '../shared/net/door.ts';
import { keepLeafFresh } from '../shared/net/enrol/renewal.ts';
import { ObjectChunkSource } from '../shared/net/exchange/object-chunk-source.ts';
import { ObjectPuller } from '../shared/net/exchange/puller.ts';
import { openLink } from '../shared/net/link.ts';
import { openMetricsDoor } from '../shared/net/metrics-door.ts';
import { Revocations } from '../shared/net/revocations.ts';
import { Timekeeper } from '../shared/net/timekeeper.ts';
import { Outbox } from '../shared/store/outbox.ts';
import { openState } from '../shared/store/state.ts';
import { Table } from '../shared/store/table.ts';
import { readFactoryRoot } from '../shared/trust/factory-root.ts';
import type { MetadataSource } from '../shared/trust/metadata-source.ts';
import { mayEnter } from '../shared/wire/policy.ts';
import { revocationsOf } from '../shared/wire/revocation.ts';
import { Acceptor } from './accept/verify.ts';
import { type AgentConfig, parseAddress } from './config.ts';
import { Counter } from './confirm/counter.ts';
import { KeptHead } from './confirm/kept-head.ts';
import { Resending } from './confirm/resending.ts';
import { Statements } from './confirm/statements.ts';
import { renewalRoad } from './enrol/renew.ts';
import { GatewaySlot } from './fetch/gateway-slot.ts';
import { MetadataFailover } from './fetch/metadata-failover.ts';
import { PulledMetadata } from './fetch/pulled-metadata.ts';
import { Supplies } from './fetch/supplies.ts';
import { DirectoryHandler } from './handlers/directory.ts';
import { Installer } from './install/installer.ts';
import { Journal, journalTables } from './install/journal.ts';
import { LeftBehind } from './install/left-behind.ts';
import { Scheduler } from './install/scheduler.ts';
import { KeyAsking } from './keys/asking.ts';
import { Keyring } from './keys/keyring.ts';
import { type Address, type Connection, isOwnGateway, locate } from './locate.ts';
import { AgentTally, agentMetrics } from './metrics.ts';
import { PatchFolder } from './patch/patch-folder.ts';
import { ProgressTeller } from './progress.ts';
import { OwnShelf } from './serve/shelf.ts';
import { Session } from './session.ts';
import { browsePeers } from './swarm/browse-peers.ts';
import { Sharing } from './swarm/sharing.ts';
import { Swarm } from './swarm/swarm.ts';
import { Wanted } from './wanted.ts';

export interface AgentOptions {
  readonly config: AgentConfig;
  /** Of this software: told at every connect, and compared with what releases ask for. */
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly discovery?: Discovery;
  readonly random?: () => number;
}

export interface Agent {
  readonly identity: DeviceIdentity;
  /** Of its own door. */
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Starts a device's agent: settles what the last run left behind, acts on the last verified bundle, and from then on on its gateway's offers.
 * @throws KEY_UNUSABLE, CERT_*, CONFIG_INVALID, STORAGE_FAILED, CONNECTION_FAILED (its own address cannot be listened on)
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { config, version, log, random = Math.random } = options;
  const credentials = new LiveCredentials(await loadTimelessCredentials(config.credentials));
  const device = deviceOf(credentials.identity, config.credentials);
  const factoryRoot = await readFactoryRoot(config.root);
  const timekeeper = await Timekeeper.open({ directory: config.data, credentials, clock: options.clock, log });
  // Certificates and metadata are judged by what is known of the time, not by what this machine believes.
  const clock = timekeeper.time;
  const stopping = new AbortController();
  const { signal } = stopping;
  await using stack = new AsyncDisposableStack();

  // What the device remembers.
  const state = await openState(join(config.data, 'state'));
  stack.defer(() => state.close());
  const numbers = new Table(state, 'number', z.int().min(0));
  const journal = new Journal(journalTables(state));
  const handler = new DirectoryHandler({ install: config.install.directory, log, clock });
  const revocations = new Revocations(log);
  const acceptor = new Acceptor({
    directory: join(config.data, 'trust'),
    factoryRoot,
    scope: device,
    highest: numbers,
    timekeeper,
    believed: ({ bundle }) => {
      revocations.learn(device.group, revocationsOf(bundle));
      keyAsking.look();
    },
    log,
  });

  // What it says. The session is the connection of the moment; without one everything waits in the outbox.
  let session: Session | undefined;
  const statements = new Statements({
    device,
    credentials,
    counter: new Counter(numbers),
    outbox: await Outbox.open(state),
    kept: await KeptHead.open(config.data, log),
    clock,
    calendar: clock.calendar,
    log,
    agentVersion: version,
    inventory: () => handler.inventory(),
    send: (signed) => session?.sendStatement(signed),
  });

  const resending = new Resending({ resend: () => statements.resend(), clock, random, log, signal });
  stack.defer(() => resending.idle());

  // What it does.
  const gateway = new GatewaySlot();
  const keyring = await Keyring.open({ directory: config.data, scope: device, log });
  const contentKeys = (manifestHash: string): ContentKeys => keyring.contentKeys(acceptor.view?.bundle, manifestHash);
  const keyAsking = new KeyAsking({
    device,
    credentials,
    keyring,
    wanted: () => acceptor.view?.bundle.groupKey,
    send: (question) => session?.askGroupKeys(question),
    onKey: () => scheduler.wake(),
    clock,
    log,
    random,
    signal,
  });
  stack.defer(() => keyAsking.idle());
  const shelf = new OwnShelf(device, () => acceptor.view, clock.calendar, contentKeys);
  const sharing = new Sharing({ share: config.swarm.share, metered: config.swarm.metered, clock });
  const swarm = new Swarm({
    device,
    credentials,
    revocations,
    shelf,
    uploadRate: () => bytesPerSecond(config.swarm.limit, new Date(clock.guess())),
    uploads: sharing.allowed,
    clock,
    log,
    random,
  });
  stack.defer(() => swarm.close());
  const teller = new ProgressTeller(device, clock, (progress) => session?.sendProgress(progress));
  const tally = new AgentTally();
  const restock = async (): Promise<void> => {
    shelf.restock(await handler.trees());
    swarm.restocked();
  };
  /** What was staged stands elsewhere from now on, and goes on being passed on while it is activated and checked. */
  const staged = (unstage: () => void) => (): void => {
    void restock()
      .catch((error: unknown) => log.warn('shelf.not-restocked', { error }))
      .finally(unstage);
  };
  const patches = new PatchFolder({ directory: join(config.data, 'patches') });
  const supplies = new Supplies({
    swarm,
    gateway,
    trees: () => handler.trees(),
    view: () => acceptor.view,
    contentKeys,
    patches,
    share: (tree) => shelf.stage(tree),
    staged,
    log,
  });
  const installer = new Installer({
    handler,
    journal,
    reporter: tally.counting(statements),
    log,
    supply: (release) => supplies.open(release),
    onProgress: (progress) => teller.tell(progress),
  });
  const scheduler = new Scheduler({
    installer,
    journal,
    clock,
    log,
    signal,
    random,
    onSettled: () => {
      void patches
        .tidy()
        .then(restock)
        .catch((error: unknown) => log.warn('shelf.not-restocked', { error }));
      // A bundle that came meanwhile was judged by what ran then, which may have been rolled back since.
      if (signal.aborted) return;
      void wanted.reconsider().catch((error: unknown) => {
        if (!signal.aborted) log.error('agent.part-failed', { what: 'reconsider', error: toWardcastError(error) });
      });
    },
  });
  stack.defer(() => scheduler.idle());
  const leftBehind = new LeftBehind({ state, handler, policy: config.install.left_behind, unsettled: () => installer.unsettled(), log });
  /** Decides anew about everything: after a start, a connect or an offer. */
  const wanted = new Wanted({
    acceptor,
    clock,
    log,
    signal,
    random,
    act: async (view) => {
      const situation = {
        bundle: view.bundle,
        manifests: view.manifests,
        installed: await handler.inventory(),
        bad: await journal.bad(),
        agentVersion: version,
      };
      await scheduler.plan(decide(situation), view.bundle.sequence);
      const removed = await leftBehind.settle(view.bundle, signal);
      if (removed.length > 0) await statements.stateInventory();
    },
  });
  stack.defer(async () => {
    stopping.abort(new WardcastError('ABORTED', 'The agent is stopping'));
    await wanted.idle();
  });

  timekeeper.onProven(() => wanted.hurry());
  timekeeper.onClock(() => session?.greet().catch((error: unknown) => log.debug('hello.unsent', { error })));
  const keeping = timekeeper.run(signal);
  stack.defer(() => {
    stopping.abort(new WardcastError('ABORTED', 'The agent is stopping'));
    return keeping;
  });

  // First of all the journal: what was cut short is completed or undone before anything new begins.
  for (const application of await installer.unsettled()) {
    try {
      await installer.settle(application, signal);
    } catch (error) {
      // One application must not keep the others from starting; the scheduler tries it again.
      log.error('install.settle-failed', { application, error });
    }
  }
  await restock();
  await acceptor.load();
  await wanted.reconsider();

  // The LAN.
  const door: Door = await openDoor({
    host: config.lan.host,
    port: config.lan.port,
    credentials,
    log,
    clock,
    revocations,
    accept: (identity) => mayEnter(device, identity),
    onHttp: createChunkHandler({ log, bundles: shelf.find }),
    onSwarm: (socket, identity) => swarm.attach(socket, identity),
  });
  stack.defer(() => door.close());
  if (config.metrics !== undefined) {
    const sequence = (): number => acceptor.view?.bundle.sequence ?? 0;
    const metrics = agentMetrics({ tally, door, statements, connected: () => session !== undefined, time: timekeeper.time, sequence });
    const metricsDoor = await openMetricsDoor({ ...config.metrics, metrics, log });
    stack.defer(() => metricsDoor.close());
  }
  const discovery = options.discovery ?? createBonjourDiscovery({ interface: config.lan.interface ?? config.lan.host, log, clock });
  stack.defer(() => discovery.close());
  const instance = randomUUID();
  const advert = await discovery.advertise({ kind: 'agent', port: door.port, instance });
  stack.defer(() => advert.close());
  const browsing = browsePeers(discovery, instance, swarm, { log, clock, signal });
  stack.defer(() => browsing);

  const open = ({ host, port }: Address, lost: AbortSignal): Connection => {
    const expect = (identity: Identity): boolean => isOwnGateway(device, identity);
    const link = openLink({ host, port, credentials, expect, revocations, log, clock, random, signal: lost });
    const puller = new ObjectPuller({ link, identity: device, log, clock });
    const https = new HttpsChunkSource({ host, port, credentials, scope: device, expect, revocations, log, clock });
    const metadata: MetadataSource = new MetadataFailover([https, new PulledMetadata(puller, device.group)]);
    const mine = new Session({
      link,
      device,
      hello: () => ({ version, instance, port: door.port, ...timekeeper.told }),
      log,
      signal: lost,
      onOffer: ({ sequence, timestampVersion }) => wanted.offered(metadata, { sequence, timestampVersion }, lost),
      onReceipt: async (payload) => {
        if (await statements.receive(payload)) await statements.stateInventory();
      },
      onStatementRefused: (code) => resending.refused(code),
      onTime: (payload) => timekeeper.answered(payload),
      onGroupKeys: (payload) => keyAsking.answered(payload),
      onPeers: ({ peers, ...told }) => {
        // The gateway's word beside the bundle's: it can shut this device's doors and open none.
        revocations.learn('gateway', revocationsOf({ customer: device.customer, group: device.group, ...told }));
        swarm.listed(peers.map((peer) => ({ host: peer.address, port: peer.port })));
      },
    });
    const listening = mine.listen();
    const serve = async (): Promise<void> => {
      session = mine;
      gateway.connect([https, new ObjectChunkSource({ puller, group: device.group })]);
      swarm.gatewayAt({ host, port });
      const stopAsking = timekeeper.connected((question) => mine.askTime(question));
      keyAsking.look();
      try {
        await mine.greet();
        await statements.resend();
        await statements.stateInventory();
        await wanted.reconsider();
        scheduler.wake();
        await listening;
      } finally {
        stopAsking();
        if (session === mine) session = undefined;
        gateway.connect([]);
        swarm.gatewayAt(undefined);
      }
    };
    lost.addEventListener(
      'abort',
      () => {
        puller.close();
        https.close();
      },
      { once: true },
    );
    return { link, serve };
  };
  const fixed = config.gateway.address === undefined ? undefined : parseAddress(config.gateway.address);
  const locating = locate({ fixed, browse: (browsing) => discovery.browse('gateway', { signal: browsing }), open, clock, log, random }, signal).catch(
    (error: unknown) => log.error('agent.part-failed', { what: 'locate', error: toWardcastError(error) }),
  );
  stack.defer(() => locating);
  const renewing = keepLeafFresh(
    { directory: config.credentials, ask: renewalRoad({ config, clock, log, random, discovery }), clock: clock.calendar, log, random, credentials },
    signal,
  );
  stack.defer(() => renewing);
  stack.defer(() => stopping.abort(new WardcastError('ABORTED', 'The agent is stopping')));
  const stop = stack.move();
  log.info('ready', { port: door.port, agent: identityPath(device), applications: await handler.inventory() });
  return { identity: device, port: door.port, close: () => stop.disposeAsync() };
}

function deviceOf(identity: Credentials['identity'], directory: string): DeviceIdentity {
  if (identity.role === 'device') return identity;
  throw new WardcastError('CERT_WRONG_ROLE', `The credentials in ${directory} are those of ${identityPath(identity)}, which is no device`, {
    remedy: 'Issue credentials for this device with `wardcast pki`.',
  });
}
