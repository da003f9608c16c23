import { Turns } from '../../shared/base/each.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { downgradeRefusal } from '../../shared/bundle/decide.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';
import type { Confirmation } from '../../shared/wire/messages.ts';
import type { AcceptedRelease, InstallHandler, StagedChunks } from '../handlers/install-handler.ts';
import type { JournalEntry } from './entry.ts';
import type { Journal } from './journal.ts';
import { KeptSources } from './kept-sources.ts';
import { isPassing, isPassingCode, isReported } from './passing.ts';
import type { Outcome, Reporter } from './reporter.ts';
import { nextStep } from './resume.ts';

export type Bytes = JournalEntry['sources'];

/** Where one installation's chunks come from, and how many bytes came from where so far. */
export interface Supply {
  readonly chunks: ChunkFetcher;
  bytes(): Bytes;
  /** The release is being staged: of what stands already others can be served, until the returned function is called. */
  staged(tree: StagedChunks): () => void;
}

export type Phase = 'fetching' | 'staged' | 'activating' | 'checking' | 'done' | 'failed';
export interface InstallProgress {
  readonly application: string;
  readonly version: string;
  readonly sequence: number;
  readonly phase: Phase;
  /** Bytes that were missing on the device when staging began. */
  readonly missing: number;
  readonly bytes: Bytes;
  readonly reason?: string;
}

export interface InstallerOptions {
  readonly handler: InstallHandler;
  readonly journal: Journal;
  readonly reporter: Reporter;
  readonly log: Log;
  /** Opens the sources for one installation. */
  readonly supply: (release: AcceptedRelease) => Promise<Supply>;
  readonly onProgress?: (progress: InstallProgress) => void;
}

export interface InstallOptions {
  /** Asked once more when everything is staged: has a newer bundle withdrawn or replaced the release meanwhile? */
  readonly stillWanted: () => boolean;
  /** Signed as wanted although something newer runs. */
  readonly allowDowngrade?: boolean;
  readonly signal?: AbortSignal | undefined;
}

const NO_BYTES: Bytes = { gateway: 0, peer: 0, own: 0, patch: 0 };

/**
 * Drives the install handler through the journal's states. The journal is written before what it announces and after what it attests,
 * so that whatever instant the device dies at, `recover` knows how to go on. The caller runs one call per application at a time.
 */
export class Installer {
  readonly #o: InstallerOptions;
  readonly #log: Log;
  /** One release is staged at a time: free space that was checked is not taken by another. */
  readonly #staging = new Turns(1);

  constructor(options: InstallerOptions) {
    this.#o = options;
    this.#log = options.log;
  }

  /** Applications whose last installation was cut short after it touched what runs, or whose outcome is not on its way yet. */
  async unsettled(): Promise<string[]> {
    return (await this.#o.journal.all()).filter((entry) => nextStep(entry) !== 'wait').map((entry) => entry.application);
  }

  /** Finishes or undoes what was cut short. At start call it for all unsettled applications before anything else. */
  async settle(application: string, signal?: AbortSignal): Promise<void> {
    const entry = await this.#o.journal.get(application);
    if (entry !== undefined && nextStep(entry) !== 'wait') await this.#settle(entry, signal);
  }

  /**
   * Installs a release, or goes on with it.
   * @throws a passing error (isPassing) when it is worth another try; every lasting failure is rolled back, reported and returned
   */
  async install(release: AcceptedRelease, sequence: number, options: InstallOptions): Promise<Confirmation['result'] | 'superseded'> {
    const { handler, journal } = this.#o;
    const left = await journal.get(release.application);
    if (left !== undefined && nextStep(left) !== 'wait') {
      const result = await this.#settle(left, options.signal);
      if (left.manifest === release.manifestHash) return result;
    }
    const running = await handler.running(release.application);
    // Decided before the last installation ended: it runs and was confirmed.
    if (running?.manifestHash === release.manifestHash) return 'installed';
    // Decided about what ran before the last installation ended; what that left running is newer.
    const downgrade = downgradeRefusal({ ...release, allowDowngrade: options.allowDowngrade ?? false }, running);
    if (downgrade !== undefined) {
      const { application, version, manifestHash: manifest } = release;
      await this.refuse({ application, version, manifest, sequence }, new WardcastError('DOWNGRADE_REFUSED', downgrade));
      return 'refused';
    }
    let entry: JournalEntry = {
      application: release.application,
      version: release.version,
      manifest: release.manifestHash,
      sequence,
      state: 'staging',
      starts: 0,
      previous: running === undefined ? null : { version: running.version, manifest: running.manifestHash },
      sources: left?.manifest === release.manifestHash ? left.sources : NO_BYTES,
      reason: null,
      confirmation: null,
    };
    await journal.begin(entry, release.manifest);
    this.#log.info('install.begin', { application: entry.application, version: entry.version, sequence });
    try {
      entry = await this.#staging.run(() => this.#stage(entry, release, options.signal));
    } catch (error) {
      options.signal?.throwIfAborted();
      entry = { ...entry, sources: (await journal.get(entry.application))?.sources ?? entry.sources };
      const failure = toWardcastError(error, 'INSTALL_FAILED', 'The release could not be staged');
      if (!isPassing(failure)) return await this.#undo(entry, release, failure, 'failed', options.signal);
      await this.#reportPassing(entry, failure);
      throw failure;
    }
    if (!options.stillWanted()) return 'superseded';
    return await this.#start(entry, release, options.signal);
  }

  /** Says once per bundle that a release is not accepted. */
  async refuse(about: Pick<JournalEntry, 'application' | 'version' | 'manifest' | 'sequence'>, error: WardcastError): Promise<void> {
    const { handler, journal } = this.#o;
    const left = await journal.get(about.application);
    if (left !== undefined && nextStep(left) !== 'wait') await this.#settle(left, undefined);
    const running = await handler.running(about.application);
    const previous = running === undefined ? null : { version: running.version, manifest: running.manifestHash };
    this.#log.warn('install.refused', { application: about.application, version: about.version, sequence: about.sequence, error });
    await this.#conclude({ ...about, state: 'rolled-back', starts: 0, previous, sources: NO_BYTES, reason: null, confirmation: null }, 'refused', error);
  }

  async #settle(entry: JournalEntry, signal: AbortSignal | undefined): Promise<Confirmation['result']> {
    const step = nextStep(entry);
    if (step === 'conclude') return await this.#deliver(entry);
    if (step === 'wait') return 'failed';
    const release = await this.#o.journal.release(entry);
    if (release === undefined) throw new WardcastError('STORAGE_FAILED', `The journal lost the manifest of ${entry.application} ${entry.version}`);
    this.#log.info('install.resume', { application: entry.application, version: entry.version, state: entry.state, starts: entry.starts, step });
    switch (step) {
      case 'start':
        return await this.#start(entry, release, signal);
      case 'commit':
        return await this.#commit(entry, release, signal);
      case 'give-up': {
        const error = new WardcastError('STARTS_EXHAUSTED', `${entry.application} ${entry.version} was started ${entry.starts} times and never proved healthy`);
        return await this.#undo(entry, release, error, 'rolled-back', signal);
      }
      case 'roll-back': {
        const error = new WardcastError('INSTALL_FAILED', 'The installation was undone');
        return await this.#undo(entry, release, error, 'rolled-back', signal);
      }
    }
  }

  async #stage(entry: JournalEntry, release: AcceptedRelease, signal: AbortSignal | undefined): Promise<JournalEntry> {
    const supply = await this.#o.supply(release);
    let missing = 0;
    const before = entry.sources;
    const kept = new KeptSources({ journal: this.#o.journal, log: this.#log, entry: () => ({ ...entry, sources: sum(before, supply.bytes()) }) });
    const show = (phase: Phase): void => this.#progress(entry, phase, missing, supply.bytes());
    const chunks: ChunkFetcher = {
      fetch: (wanted, deliver, options) =>
        supply.chunks.fetch(
          wanted,
          async (hash, bytes, from) => {
            await deliver(hash, bytes, from);
            show('fetching');
            kept.grew();
          },
          options,
        ),
    };
    let unstaged = (): void => undefined;
    const onStaged = (tree: StagedChunks): void => {
      unstaged = supply.staged(tree);
    };
    const onMissing = (bytes: number): void => {
      missing = bytes;
      show('fetching');
    };
    try {
      await this.#o.handler.stage(release, chunks, { signal, onMissing, onStaged });
    } catch (error) {
      await kept.settle();
      throw error;
    } finally {
      unstaged();
    }
    const staged: JournalEntry = { ...entry, state: 'staged', sources: sum(before, supply.bytes()) };
    await this.#o.journal.put(staged);
    show('staged');
    return staged;
  }

  async #start(before: JournalEntry, release: AcceptedRelease, signal: AbortSignal | undefined): Promise<Confirmation['result']> {
    const { handler, journal } = this.#o;
    let entry: JournalEntry = { ...before, state: 'activating', starts: before.starts + 1 };
    await journal.put(entry);
    this.#progress(entry, 'activating', 0, entry.sources);
    try {
      await handler.activate(release, { signal });
      entry = { ...entry, state: 'activated' };
      await journal.put(entry);
      this.#progress(entry, 'checking', 0, entry.sources);
      await handler.check(release, { signal });
    } catch (error) {
      if (signal?.aborted) {
        // Stopped in good order: that is no failed start.
        await journal.put({ ...entry, starts: before.starts });
        throw error;
      }
      const failure = toWardcastError(error, 'INSTALL_FAILED', 'The release could not be activated');
      if (failure.code === 'BUSY' && entry.state === 'activating') {
        await journal.put({ ...entry, state: 'staged', starts: before.starts });
        throw failure;
      }
      return await this.#undo(entry, release, failure, 'rolled-back', signal);
    }
    entry = { ...entry, state: 'checked' };
    await journal.put(entry);
    return await this.#commit(entry, release, signal);
  }

  async #commit(entry: JournalEntry, release: AcceptedRelease, signal: AbortSignal | undefined): Promise<Confirmation['result']> {
    await this.#o.handler.commit(release, { signal });
    return await this.#conclude({ ...entry, state: 'committed' }, 'installed', undefined);
  }

  async #undo(
    entry: JournalEntry,
    release: AcceptedRelease,
    error: WardcastError,
    result: 'failed' | 'rolled-back',
    signal: AbortSignal | undefined,
  ): Promise<Confirmation['result']> {
    // The first reason stays: a rollback that had to be done twice says why it began.
    const reason = entry.reason ?? { code: error.code, message: error.message.slice(0, 2000) };
    const back: JournalEntry = { ...entry, state: 'rolling-back', reason };
    await this.#o.journal.put(back);
    this.#log.warn('install.roll-back', { application: entry.application, version: entry.version, reason });
    const { previous } = entry;
    await this.#o.handler.rollback(
      release,
      previous === null ? undefined : { application: entry.application, version: previous.version, manifestHash: previous.manifest },
      { signal },
    );
    return await this.#conclude({ ...back, state: 'rolled-back' }, entry.starts === 0 ? 'failed' : result, error);
  }

  async #reportPassing(entry: JournalEntry, error: WardcastError): Promise<void> {
    this.#log.warn('install.passing-failure', { application: entry.application, version: entry.version, error });
    this.#progress(entry, 'failed', 0, entry.sources, error.message);
    const verdict = await this.#o.journal.verdict(entry.manifest);
    if (!isReported(error) || (verdict?.sequence === entry.sequence && verdict.code === error.code)) return;
    await this.#conclude({ ...entry, state: 'rolled-back' }, 'failed', error);
  }

  /** Fixes the outcome and its confirmation in one write, then brings it on its way. */
  async #conclude(entry: JournalEntry, result: Confirmation['result'], error: WardcastError | undefined): Promise<Confirmation['result']> {
    const { handler, journal, reporter } = this.#o;
    const running = await handler.running(entry.application);
    const reason = entry.reason ?? (error === undefined ? null : { code: error.code, message: error.message.slice(0, 2000) });
    const outcome: Outcome = {
      application: entry.application,
      version: entry.version,
      manifest: entry.manifest,
      sequence: entry.sequence,
      result,
      running: running === undefined ? null : { version: running.version, manifest: running.manifestHash },
      sources: spoken(entry.sources),
      ...(reason === null ? {} : { reason }),
    };
    const final: JournalEntry = { ...entry, reason, confirmation: await reporter.compose(outcome) };
    await journal.put(final);
    return await this.#deliver(final);
  }

  async #deliver(entry: JournalEntry): Promise<Confirmation['result']> {
    const { confirmation } = entry;
    if (confirmation === null) throw new WardcastError('STORAGE_FAILED', `The journal lost the outcome of ${entry.application} ${entry.version}`);
    await this.#judge(entry, confirmation);
    await this.#o.reporter.report(confirmation);
    await this.#o.journal.forget(entry.application);
    this.#log.info('install.concluded', { application: entry.application, version: entry.version, result: confirmation.result, counter: confirmation.counter });
    this.#progress(entry, confirmation.result === 'installed' ? 'done' : 'failed', 0, entry.sources, confirmation.reason?.message);
    return confirmation.result;
  }

  /** What the outcome means for later bundles that ask for the same release. */
  async #judge(entry: JournalEntry, { result, reason }: Confirmation): Promise<void> {
    const { journal } = this.#o;
    if (result === 'installed') return await journal.absolve(entry.manifest);
    const before = await journal.verdict(entry.manifest);
    const code = reason?.code ?? 'INSTALL_FAILED';
    await journal.judge(entry.manifest, {
      application: entry.application,
      version: entry.version,
      sequence: entry.sequence,
      result,
      code,
      settled: !(result === 'failed' && isPassingCode(code)),
      bad: before?.bad === true || code === 'STARTS_EXHAUSTED',
    });
  }

  #progress(entry: JournalEntry, phase: Phase, missing: number, bytes: Bytes, reason?: string): void {
    const { application, version, sequence } = entry;
    this.#o.onProgress?.({ application, version, sequence, phase, missing, bytes, ...(reason === undefined ? {} : { reason: reason.slice(0, 500) }) });
  }
}

function sum(a: Bytes, b: Bytes): Bytes {
  return { gateway: a.gateway + b.gateway, peer: a.peer + b.peer, own: a.own + b.own, patch: a.patch + b.patch };
}

/** Who makes no use of patches does not speak of them. */
function spoken({ patch, ...sources }: Bytes): Confirmation['sources'] {
  return patch === 0 ? sources : { ...sources, patch };
}
