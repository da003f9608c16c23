import { join } from 'node:path';
import type { Credentials } from '../certs/credentials.ts';
import { Issuers } from '../certs/issuers.ts';
import type { Clock } from '../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { identityPath, type Scope } from '../shared/base/identity.ts';
import type { Log } from '../shared/base/log.ts';
import type { GroupKeyRef } from '../shared/bundle/bundle.ts';
import { openDoor } from '../shared/net/door.ts';
import { createEmbeddedBroker } from '../shared/net/embedded-broker.ts';
import { EnrolCounter } from '../shared/net/enrol/counter.ts';
import { ObjectServer } from '../shared/net/exchange/server.ts';
import { openMetricsDoor } from '../shared/net/metrics-door.ts';
import { Revocations } from '../shared/net/revocations.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { mayEnter } from '../shared/wire/policy.ts';
import { parseUp, UP_FILTERS } from '../shared/wire/topics.ts';
import { OpsDesk } from './api/desk.ts';
import { Uploads } from './api/uploads.ts';
import { Assigner } from './deliver/assigner.ts';
import { ChunkIndex } from './deliver/chunk-index.ts';
import { Offers } from './deliver/offers.ts';
import { keepRenewing } from './deliver/renewal.ts';
import { Repositories } from './deliver/repositories.ts';
import { objectReader } from './deliver/serve.ts';
import { type OfflineMetadata, readOfflineMetadata, readOnlineKeys } from './deliver/trust-directory.ts';
import { Alarms } from './enrol/alarms.ts';
import { Enrolments } from './enrol/enrolments.ts';
import { Events, logRow } from './events.ts';
import { ProviderTally, providerMetrics } from './metrics.ts';
import { Patches } from './patch/patches.ts';
import { Workshop } from './patch/workshop.ts';
import type { Content } from './plan.ts';
import { Planner } from './planner.ts';
import { ReceiptPost } from './receipt-post.ts';
import { Checkers } from './record/checkers.ts';
import { Recorder } from './record/recorder.ts';
import { followRegistry, revokedEvent } from './refused.ts';
import { openLevelRegistry } from './registry/level-registry.ts';
import { keys } from './registry/rows.ts';
import { Reports } from './reports.ts';
import { KeyDesk } from './secrecy/key-desk.ts';
import { KeyVault } from './secrecy/vault.ts';
import { TimeDesk } from './time-desk.ts';
import { Uplink } from './uplink.ts';

export interface ProviderOptions {
  /** Directories, absolute. */
  readonly data: string;
  readonly trust: string;
  readonly keys: string;
  readonly credentials: Credentials;
  readonly listen: { readonly host: string; readonly port: number };
  /** Where to tell metrics; absent: nowhere. */
  readonly metrics?: { readonly host: string; readonly port: number } | undefined;
  /** Where the issuing authorities lie, and how many days a certificate given here lasts; absent: none are given. */
  readonly enrolment?: { readonly authorities: string; readonly leafDays: number } | undefined;
  /** Make patches, for groups all of whose devices run other releases of an application already. */
  readonly patches?: boolean;
  readonly clock: Clock;
  readonly log: Log;
}
export interface Provider {
  readonly port: number;
  /** Rejects when the provider cannot go on. */
  readonly failed: Promise<never>;
  close(): Promise<void>;
}

/** Opens the stores, connects the rooms, and listens. @throws what is wrong with the folders, keys or the address */
export async function startProvider(o: ProviderOptions): Promise<Provider> {
  const { clock, log, credentials } = o;
  if (credentials.identity.role !== 'provider') {
    throw new WardcastError('CERT_WRONG_ROLE', `The credentials are of ${identityPath(credentials.identity)}, which is no provider`, {
      remedy: 'Issue them with `wardcast pki provider`.',
    });
  }
  const actor = identityPath(credentials.identity);
  let offline: OfflineMetadata = await readOfflineMetadata(o.trust);
  const online = await readOnlineKeys(o.keys);
  const registry = await openLevelRegistry(o.data, { clock, log });
  const stop = new AbortController();
  const { signal } = stop;
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  try {
    const chunks = await DiskChunkStore.open(join(o.data, 'chunks'), { log });
    const manifests = await DiskChunkStore.open(join(o.data, 'manifests'), { log });
    const index = new ChunkIndex(manifests);
    const vault = await KeyVault.open(join(o.data, 'secrets'));
    const repositories = new Repositories(registry);
    const broker = createEmbeddedBroker({ log, clock });
    const events = new Events({ broker, clock, log });
    const reports = new Reports(registry);
    const offers = new Offers({ broker, repositories, log });
    const assigner = new Assigner({ registry, repositories, vault, index, keys: online, offline: () => offline, actor, clock, log });
    const revocations = new Revocations(log);
    await followRegistry(registry, revocations);
    const serially = oneAfterTheOther();
    const workshop =
      o.patches === true
        ? await Workshop.open({ directory: join(o.data, 'patches'), chunks, chunkDirectory: join(o.data, 'chunks'), manifests, vault, log, signal })
        : undefined;
    const again = (scope: Scope): void => planner.again(scope);
    const patches = workshop === undefined ? undefined : new Patches({ workshop, registry, repositories, index, again, clock, log, signal });
    const assign = async (scope: Scope, content: Content): Promise<'later' | undefined> => {
      // Not while others wait for their turn: a revocation may be among them.
      const chosen = await patches?.of(scope, content);
      if (chosen === 'later') return chosen;
      const { sequence, releases } = await serially(() => assigner.assign(scope, content, chosen));
      events.tell('bundle-assigned', { ...scope, sequence, releases: releases.map(({ application, version }) => ({ application, version })) });
      return undefined;
    };
    const offer = (scope: Scope): Promise<void> => offers.offer(scope);
    const groupKey = (scope: Scope, epoch: number): Promise<GroupKeyRef> => vault.makeGroupKey(scope, epoch);
    const planner = new Planner({ registry, assign, offer, groupKey, clock, log, signal });
    const checkers = new Checkers({ credentials: () => credentials, clock, log });
    signal.addEventListener('abort', () => checkers.close(), { once: true });
    const recorder = new Recorder({ registry, credentials: () => credentials, clock, checkers });
    const objects = new ObjectServer({ broker, log, read: objectReader({ repositories, index, manifests, chunks, log }) });
    const receipts = new ReceiptPost({ broker, log });
    const tally = new ProviderTally();
    const time = new TimeDesk({ credentials, clock });
    const groupKeys = new KeyDesk({ credentials, registry, repositories, vault, clock, log });
    const alarms = new Alarms({ registry, events, clock });
    const issuers = o.enrolment === undefined ? undefined : await Issuers.load(o.enrolment.authorities, { ...credentials, now: clock.now() });
    const enrolments = new Enrolments({ registry, issuers, leafDays: o.enrolment?.leafDays, rootPem: credentials.rootPem, alarms, events, clock, log });
    const counter = new EnrolCounter({ answer: (request) => enrolments.answer(request, undefined), clock, log });
    const uplink = new Uplink({
      enrolments,
      alarms,
      onStatement: tally.stated,
      time,
      groupKeys,
      broker,
      recorder,
      receipts,
      planner,
      offers,
      objects,
      reports,
      events,
      clock,
      signal,
      log,
    });
    const rereadOffline = async (): Promise<OfflineMetadata> => {
      offline = await readOfflineMetadata(o.trust);
      return offline;
    };
    const { trustDomain } = credentials;
    const desk = {
      registry,
      chunks,
      manifests,
      index,
      uploads: new Uploads([chunks, manifests]),
      vault,
      repositories,
      reports,
      offers,
      offline: rereadOffline,
      trustDomain,
      clock,
    };
    const ops = new OpsDesk({ desk, broker, log });

    registry.onEntry((entry) => {
      if (entry.change.type === 'bundle-assigned') tally.bundles.add({});
      if (entry.change.type !== 'statement') events.tell('registry-changed', { entry: logRow(entry) });
      const revoked = revokedEvent(entry.change);
      if (revoked !== undefined) events.tell('revoked', revoked);
      planner.changed(entry);
      if (entry.change.type === 'release-published') void patches?.prepare(entry.change.application, entry.change.manifest);
    });
    registry.onFailure((error) => failed.reject(error));
    broker.onPresence(({ identity, connected }) => {
      if (identity.role === 'ops' && !connected) ops.left(identity);
      if (identity.role !== 'gateway') return;
      const { customer, site, gateway } = identity;
      if (!connected && !broker.connected(identity)) offers.left(identity);
      events.tell(connected ? 'gateway-connected' : 'gateway-disconnected', { customer, site, gateway });
    });
    broker.onRefused(({ who, topic, code }) => events.tell('refused', { who: identityPath(who), topic, code }));

    // Deliveries are handled side by side: what waits for the disk shares its sync with the others.
    const working = new Set<Promise<void>>();
    const listen = async (filter: string): Promise<void> => {
      for await (const delivery of broker.subscribe([filter], { signal })) {
        const said = parseUp(delivery.topic);
        const work = said === undefined ? undefined : dispatch(said, delivery);
        if (work === undefined) {
          delivery.accept();
          continue;
        }
        working.add(work);
        void work.finally(() => working.delete(work));
      }
    };
    const dispatch = (
      { sender, verb, rest }: NonNullable<ReturnType<typeof parseUp>>,
      delivery: Parameters<typeof ops.request>[1],
    ): Promise<void> | undefined => {
      if (sender.role === 'gateway') return uplink.handle(sender, verb, delivery);
      if (sender.role !== 'ops') return undefined;
      if (verb === 'request') return ops.request(sender, delivery);
      return verb === 'object' ? ops.upload(sender, rest, delivery) : undefined;
    };
    const retired = async (customer: string): Promise<boolean> => (await registry.get(keys.customer(customer)))?.retired !== undefined;
    const renewing = keepRenewing({ repositories, assigner, offer, retired, serially, clock, log, signal });
    const background = [listen(UP_FILTERS.gateway), listen(UP_FILTERS.ops), renewing];
    for (const task of background) task.catch((error: unknown) => failed.reject(toWardcastError(error)));

    const door = await openDoor({
      ...o.listen,
      credentials,
      log,
      clock,
      accept: (identity) => mayEnter(credentials.identity, identity),
      revocations,
      onMqtt: (socket, identity) => broker.attach(socket, identity),
      ...(issuers === undefined ? {} : { onEnrol: (socket) => counter.attach(socket) }),
      signal,
    });
    const metrics = providerMetrics({ tally, registry, reports, broker, door });
    const metricsDoor = o.metrics === undefined ? undefined : await openMetricsDoor({ ...o.metrics, metrics, log });
    planner.start();
    return {
      port: door.port,
      failed: failed.promise,
      close: async () => {
        stop.abort(new WardcastError('ABORTED', 'The provider is stopping'));
        await metricsDoor?.close();
        await door.close();
        objects.close();
        await Promise.allSettled([...background, ...working, planner.settled(), workshop?.idle()]);
        await broker.close();
        await registry.close();
      },
    };
  } catch (error) {
    stop.abort(error);
    await registry.close();
    throw error;
  }
}

function oneAfterTheOther(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
}
