import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Content } from '../content.ts';
import type { Papers } from '../credentials.ts';
import { machineTimes } from '../machine.ts';
import { Network } from './network.ts';
import { Program } from './program.ts';

export interface Shape {
  readonly devices: number;
  /** Rate of every link, each way; null: unshaped. */
  readonly mbit: number | null;
  readonly mib: number;
}

export interface Setup {
  readonly shape: Shape;
  readonly content: Content;
  readonly papers: Papers;
  /** In memory: disks are not what is measured. */
  readonly directory: string;
  readonly signal: AbortSignal;
}

export interface Finish {
  /** Files that must equal the content now. */
  readonly copies: readonly string[];
  /** Further figures. */
  readonly details?: Readonly<Record<string, number>>;
}

/** Brings the file from the gateway to the devices. Servers first, then go(), then the devices; settles when the last device has it. */
export type Contestant = (race: Race) => Promise<Finish>;

export interface Result {
  readonly seconds: number;
  /** What left the gateway, headers included, in sizes of the file. */
  readonly copies: number;
  readonly cpuPercent: number;
  readonly details: Readonly<Record<string, number>>;
}

/** Seconds that the file takes over one link; unshaped there is no limit. */
export function limitOf({ mbit, mib }: Shape): number | null {
  return mbit === null ? null : (mib * 8 * 1048576) / (mbit * 1e6);
}

/** Seconds until everybody is up, on a machine with better things to do. */
const PATIENCE = 120;

/** Seconds that nobody needs who works at all: every device fetching the whole from the gateway, one after the other, half as fast again. */
function farTooLong(shape: Shape): number {
  return Math.ceil(30 + 1.5 * shape.devices * (limitOf(shape) ?? 5));
}

/** One run of one contestant, in a network of its own. @throws Error when it fails, takes far too long, or a copy is wrong */
export async function race(setup: Setup, contestant: Contestant): Promise<Result> {
  const { devices } = setup.shape;
  setup.signal.throwIfAborted();
  await using here = new AsyncDisposableStack();
  const directory = await mkdtemp(path.join(setup.directory, 'race-'));
  here.defer(() => rm(directory, { recursive: true, force: true }));
  for (let host = 0; host <= devices; host++) await mkdir(path.join(directory, String(host)));
  const network = await Network.open(devices, setup.shape.mbit);
  here.defer(() => network.close());
  const one = new Race(setup, network, directory);
  here.defer(() => one.stop());
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => undefined);
  const end = (): void => ended.reject(one.signal.reason);
  one.signal.addEventListener('abort', end, { once: true });
  if (one.signal.aborted) end();
  try {
    const running = contestant(one);
    running.catch(() => undefined);
    return await one.result(await Promise.race([running, ended.promise]));
  } catch (error) {
    setup.signal.throwIfAborted();
    throw new Error(`${error instanceof Error ? error.message : String(error)}${await one.lastWords()}`, { cause: error });
  }
}

export class Race {
  readonly shape: Shape;
  readonly content: Content;
  readonly papers: Papers;
  readonly signal: AbortSignal;
  /** Every device's number. */
  readonly devices: readonly number[];
  readonly #network: Network;
  readonly #directory: string;
  readonly #running = new AsyncDisposableStack();
  readonly #late = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #start: { readonly at: number; readonly sent: number; readonly cpu: { busy: number; all: number } } | undefined;

  constructor({ shape, content, papers, signal }: Setup, network: Network, directory: string) {
    this.shape = shape;
    this.content = content;
    this.papers = papers;
    this.signal = AbortSignal.any([signal, this.#late.signal]);
    this.#allow(PATIENCE, 'up');
    this.devices = Array.from({ length: shape.devices }, (_, index) => index + 1);
    this.#network = network;
    this.#directory = directory;
  }

  /** The folder of a host, which is empty at first. */
  folder(host: number): string {
    return path.join(this.#directory, String(host));
  }

  on(host: number, command: readonly string[]): string[] {
    return this.#network.on(host, command);
  }

  /** Starts a process on a host; it ends with the race. */
  start(host: number, command: readonly string[], output?: string): Program {
    this.signal.throwIfAborted();
    const program = command.find((word) => word.endsWith('.ts')) ?? command[0] ?? '';
    const name = `${path.basename(program)} on ${host === 0 ? 'the gateway' : `device ${host}`}`;
    const options = { folder: this.folder(host), log: `${this.folder(host)}.log`, ...(output === undefined ? {} : { output }) };
    const started = new Program(name, this.on(host, command), options);
    this.atEnd(() => started.kill());
    return started;
  }

  atEnd(work: () => Promise<void>): void {
    this.#running.defer(work);
  }

  /** Everybody is up: the clock starts. */
  async go(): Promise<void> {
    const [sent, cpu] = await Promise.all([this.#network.sent(0), machineTimes()]);
    this.#allow(farTooLong(this.shape), 'done');
    this.#start = { at: performance.now(), sent, cpu };
  }

  async result({ copies, details = {} }: Finish): Promise<Result> {
    const now = performance.now();
    if (this.#start === undefined) throw new Error('the clock was never started');
    const { at, sent, cpu } = this.#start;
    const [sentNow, cpuNow] = await Promise.all([this.#network.sent(0), machineTimes()]);
    for (const copy of copies) if ((await sha256Of(copy)) !== this.content.sha256) throw new Error(`${copy} is not what was sent`);
    return {
      seconds: (now - at) / 1000,
      copies: (sentNow - sent) / this.content.size,
      cpuPercent: (100 * (cpuNow.busy - cpu.busy)) / (cpuNow.all - cpu.all),
      details,
    };
  }

  /** The ends of what the hosts' processes had to complain of. */
  async lastWords(): Promise<string> {
    const logs = await Promise.all([0, ...this.devices].map((host) => readFile(`${this.folder(host)}.log`, 'utf8').catch(() => '')));
    return logs.map((text, host) => (text === '' ? '' : `\n host ${host}: ${text.slice(-1200).trim()}`)).join('');
  }

  stop(): Promise<void> {
    clearTimeout(this.#timer);
    return this.#running.disposeAsync();
  }

  #allow(seconds: number, state: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#late.abort(new Error(`not ${state} after ${seconds} s`)), seconds * 1000);
  }
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(part);
  return hash.digest('hex');
}
