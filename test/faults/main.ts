import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { issueGateway } from '../../certs/pki-directory.ts';
import { chunkSizes, parseManifest } from '../../shared/bundle/manifest.ts';
import { seedOf } from '../fuzz/law.ts';
import { readCampaign, Tally } from '../support/campaign.ts';
import { ensurePrograms } from '../support/debian.ts';
import { bytesOf, filesOf } from '../support/files.ts';
import { inNamespaces, run } from '../support/namespaces.ts';
import { seededRandom } from '../support/random.ts';
import { hashTree } from '../support/tree.ts';
import { World } from '../support/world.ts';
import { inflict, LINE_MBIT, prepare, replay, takeDisks } from './inflict.ts';
import { observe, statements, waiting, watchTrees } from './observe.ts';
import { describeRound, planRound, type Round } from './plan.ts';
import { faultsIn } from './truth.ts';

/**
 * `npm run faults -- [--seconds N] [--seed S]`: provider, gateway and devices as real processes, to which everything happens that happens to machines:
 * killed, frozen, cut off, slowed down, on lines that lose, repeat, reorder and damage packets, out of space, with clocks that jump, flipped bits on their disks
 * and a middleman who repeats what devices said.
 * After each round all is healed, and truth is looked at. Last line: `N passed, N failed`, a round each; exit status 0 only if nothing failed.
 */

const INSIDE = 'WARDCAST_FAULTS_INSIDE';
const HEAL = 240_000;
/** Bytes of what travels as a patch. */
const PROGRAM = 1_500_000;
/** A world that does not heal fails in every round that follows. */
const MAX_FAILED = 3;

class Campaign {
  readonly #world: World;
  readonly #signed = new Map<string, ReadonlyMap<string, string>>();
  /** By group: hashes of the other group's content. */
  readonly #secrets = { ct: new Set<string>(), pump: new Set<string>() };
  readonly #known = new Set<string>();
  #round = 0;

  private constructor(world: World) {
    this.#world = world;
  }

  static async open(): Promise<Campaign> {
    const world = await World.create({
      plan: { acme: { north: { ct: ['ct-1', 'ct-2'], pump: ['pump-1'] } } },
      applications: ['viewer', 'driver'],
      lineMbit: LINE_MBIT,
      joinLan: true,
      metrics: true,
    });
    await prepare(world);
    const directory = path.join(world.directory, 'pki');
    await issueGateway({ directory, customer: 'acme', site: 'north', gateway: 'middleman', out: path.join(world.directory, 'middleman') });
    await world.start();
    return new Campaign(world);
  }

  /** What is wrong after it; empty: nothing. */
  async round(round: Round): Promise<string[]> {
    const world = this.#world;
    this.#round += 1;
    await this.#answers();
    const before = await this.#received();
    let content = 0;
    for (const { application, size } of round.releases) content += await this.#publish(application, this.#version(application), size);
    const stop = new AbortController();
    const watching = watchTrees(world, this.#signed, stop.signal);
    let halves: string[] = [];
    const unanswered: Record<string, number> = {};
    try {
      const inflicted = inflict(world, round);
      for (const { application } of round.releases) {
        await this.#patiently(() => world.setCurrent('acme', application === 'viewer' ? 'ct' : 'pump', application, this.#version(application)));
      }
      await inflicted;
      await this.#answers();
      await this.#replay(round);
      await world.untilUpToDate(HEAL);
      // Each for itself: whoever connects anew states all it runs once more, and waits for that receipt.
      await world.until(
        'every statement has its receipt',
        async () => {
          for (const [daemon, count] of Object.entries(await waiting(world))) if (count === 0 || !(daemon in unanswered)) unanswered[daemon] = count;
          return Object.values(unanswered).every((count) => count === 0);
        },
        HEAL,
      );
    } finally {
      stop.abort();
      halves = await watching;
    }
    const received = (await this.#received()) - before;
    const rotten = round.faults.filter(({ kind }) => kind === 'rot').length * 5 * 256 * 1024;
    const breaks = round.faults.filter(({ kind, on }) => (kind !== 'rot' && on === 'gateway') || on === 'provider').length;
    return faultsIn({
      ...(await observe(world, this.#signed, this.#secrets)),
      halves,
      waiting: unanswered,
      line: { content: content + rotten, received, breaks },
    });
  }

  async close(): Promise<void> {
    await takeDisks(this.#world);
    await this.#world.close();
  }

  /** The provider has come back, and ops to it. */
  async #answers(): Promise<void> {
    const asked = async (): Promise<boolean> =>
      (await this.#world.ops()).call('customer.list', {}).then(
        () => true,
        () => false,
      );
    await this.#world.until('the provider answers', asked, HEAL);
  }

  /** A provider whose disk is full says so, and takes the order when there is room. */
  async #patiently(order: () => Promise<void>): Promise<void> {
    const done = (): Promise<boolean> =>
      order().then(
        () => true,
        () => false,
      );
    await this.#world.until('the provider takes an order', done, HEAL);
  }

  /** No version of one is one of the other: their VERSION files would be the same content. */
  #version(application: 'viewer' | 'driver'): string {
    return `${application === 'viewer' ? 1 : 2}.${this.#round}.0`;
  }

  /** Bytes of content that no release before had. */
  async #publish(application: 'viewer' | 'driver', version: string, size: number): Promise<number> {
    const world = this.#world;
    const tree = await world.publish(application, version, { ...filesOf(application, version, size), 'lib/program.bin': program(application, this.#round) });
    const files = await hashTree(tree);
    this.#signed.set(`${application} ${version}`, files);
    const rows = await (await world.ops()).call('release.list', { application });
    const manifest = rows.find((row) => row.version === version)?.manifest ?? '';
    const sizes = chunkSizes(parseManifest(await readFile(path.join(world.directory, 'workspace', 'manifests', `${manifest}.json`))));
    const others = application === 'viewer' ? this.#secrets.pump : this.#secrets.ct;
    const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    for (const hash of [manifest, ...sizes.keys(), ...files.values()]) if (hash !== empty) others.add(hash);
    let fresh = 0;
    for (const [hash, bytes] of sizes) {
      if (!this.#known.has(hash)) fresh += bytes;
      this.#known.add(hash);
    }
    return fresh;
  }

  async #replay({ replays, seed }: Round): Promise<void> {
    const world = this.#world;
    const random = seededRandom(seed + 1);
    const known = await statements(world);
    const envelopes: Buffer[] = [];
    for (let time = 0; time < replays && known.length > 0; time++) {
      const one = known[Math.floor(random() * known.length)];
      if (one === undefined) continue;
      const { chain } = await world.credentials(world.device(one.device).credentials);
      envelopes.push(Buffer.from(JSON.stringify({ payload: one.payload, signature: one.signature, chain: chain.map((der) => der.toString('base64')) })));
    }
    await replay(world, path.join(world.directory, 'middleman'), envelopes);
  }

  /** Bytes that the gateway read from its line, as it reports them; what it has not reported yet counts in the next round. */
  async #received(): Promise<number> {
    return (await this.#world.status()).sites.find(({ site }) => site === 'north')?.line?.received ?? 0;
  }
}

const settings = readCampaign(process.argv.slice(2), { seconds: 120 });
if (process.env[INSIDE] === undefined) {
  await ensurePrograms(['ip', 'tc', 'unshare', 'faketime']);
  const again = [process.execPath, import.meta.filename, ...process.argv.slice(2), '--seed', String(settings.seed)];
  process.exitCode = await run(inNamespaces(again), { cwd: path.resolve(import.meta.dirname, '../..'), env: { [INSIDE]: '1' } });
} else {
  const tally = new Tally();
  tally.note(`seed ${settings.seed}, ${settings.seconds} s`);
  const campaign = await Campaign.open();
  try {
    const deadline = performance.now() + settings.seconds * 1000;
    for (let number = 0; (number === 0 || performance.now() < deadline) && tally.failed < MAX_FAILED; number++) {
      const round = planRound(seedOf(settings.seed, 'round', number));
      const wrong = await campaign.round(round).catch((error: unknown) => [error instanceof Error ? (error.stack ?? error.message) : String(error)]);
      if (wrong.length === 0) tally.passed(`round ${number + 1}, ${describeRound(round)}`);
      else tally.fail(`round ${number + 1}, ${describeRound(round)}`, wrong.join('\n'));
    }
  } finally {
    await campaign.close();
  }
  // Not by itself: after a campaign Node 24 sometimes waits for ever for a handle that was reset (Environment::CleanupHandles), a core busy.
  process.exit(tally.end());
}

/** A program that is built anew for every release: hardly a byte of each chunk differs, so that it travels as a patch. */
function program(application: string, round: number): Buffer {
  const bytes = Buffer.from(bytesOf(`${application}/program`, PROGRAM));
  for (let at = 0; at < PROGRAM; at += 2000) bytes[at] = ((bytes[at] ?? 0) + round) & 0xff;
  return bytes;
}
