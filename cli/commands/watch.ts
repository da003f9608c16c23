import type { Command } from 'commander';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { EventBody } from '../../shared/wire/ops.ts';
import { type Call, leaf } from '../command.ts';
import { opsAddress, withConnection } from '../connection.ts';
import { EXIT } from '../exit-status.ts';
import type { Output } from '../output.ts';
import { type Bundle, type Job, ProgressBook } from '../progress-book.ts';
import { type ScopeFilter, scopeFilter, withScope } from '../scope.ts';
import { bytesText, percent, shares } from '../units.ts';

export function declare(parent: Command, description: string): void {
  withConnection(withScope(leaf(parent, 'watch', `${description}; until Ctrl-C`, watch).option('--device <device>', 'only this device')));
}

/** With `--json` the document is a stream: one event per line, as the provider publishes them. */
async function watch(call: Call): Promise<number> {
  const address = await opsAddress(call.options);
  const filter = scopeFilter(call.options);
  const { connectOps } = await import('../ops.ts');
  const ops = await call.output.patiently(`Connecting to ${address.host}:${address.port}`, connectOps(address, call.signal));
  if (!call.output.json) call.output.note(call.output.colors.dim(`Watching ${address.host}:${address.port}; Ctrl-C ends it`));
  const view = call.output.terminal && !call.output.json ? await bars() : lines(call.output);
  const book = new ProgressBook();
  try {
    for await (const event of ops.events({ signal: call.signal })) {
      if (!wanted(filter, event.body)) continue;
      if (call.output.json) process.stdout.write(`${JSON.stringify(event)}\n`);
      else if (event.type === 'progress') {
        const { job, step } = book.add(event.body);
        view.show(job, step);
        if (step && job.ended && job.device !== undefined) view.sumUp(book.bundle(job));
      }
    }
  } catch (error) {
    if (!call.signal.aborted && !isWardcastError(error, 'ABORTED')) throw error;
  } finally {
    view.stop();
    await ops.close();
  }
  return call.signal.aborted ? EXIT.ok : EXIT.unreachable;
}

interface View {
  show(job: Job, step: boolean): void;
  /** A device is done with its part of the bundle. */
  sumUp(bundle: Bundle): void;
  stop(): void;
}

/** Without a terminal: a line per tenth and per phase, on standard output since it is what was asked for. */
function lines(output: Output): View {
  return {
    show(job, step) {
      if (step) output.line(progressLine(job));
    },
    sumUp: (bundle) => output.line(bundleLine(bundle)),
    stop: () => undefined,
  };
}

export function progressLine(job: Job): string {
  const share = `${String(percent(job.done, job.total)).padStart(3)}%`;
  return `${share}  ${job.phase.padEnd(10)}  ${job.label}  ${sourcesText(job)}${job.reason === undefined ? '' : `  ${job.reason}`}`;
}

export function bundleLine(bundle: Bundle): string {
  return `      bundle      ${bundle.label}, ${bundle.devices} devices  ${sourcesText(bundle)}`;
}

/** What the line brought is counted beside what devices had: it is on its way to them. */
function sourcesText({ line, gateway, peer, own, patch }: Pick<Job, 'line' | 'gateway' | 'peer' | 'own' | 'patch'>): string {
  const had: [string, number][] = [
    ['gateway', gateway],
    ['peers', peer],
    ['own files', own],
    ['patches', patch],
  ];
  const percents = shares(had.map(([, bytes]) => bytes));
  const parts = had.map(([name, bytes], at) => ({ bytes, text: `${name} ${bytesText(bytes)} (${percents[at] ?? 0} %)` }));
  return [{ bytes: line, text: `line ${bytesText(line)}` }, ...parts]
    .filter(({ bytes }) => bytes > 0)
    .map(({ text }) => text)
    .join(', ');
}

async function bars(): Promise<View> {
  const { MultiBar } = (await import('cli-progress')).default;
  const multi = new MultiBar({
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    format: '{bar} {percentage} %  {phase}  {label}  {sources}',
    hideCursor: true,
    clearOnComplete: false,
    linewrap: false,
  });
  const shown = new Map<string, ReturnType<typeof multi.create>>();
  return {
    show(job) {
      const total = Math.max(1, job.total);
      const payload = { phase: job.phase.padEnd(10), label: job.label, sources: sourcesText(job) };
      let bar = shown.get(job.key);
      if (bar === undefined) {
        bar = multi.create(total, 0, payload);
        shown.set(job.key, bar);
      }
      bar.setTotal(total);
      bar.update(job.ended ? total : Math.min(total, job.done), payload);
      if (!job.ended) return;
      bar.stop();
      shown.delete(job.key);
    },
    sumUp: (bundle) => multi.log(`${bundleLine(bundle)}\n`),
    stop: () => multi.stop(),
  };
}

function wanted(filter: ScopeFilter, body: EventBody<'progress'> | object): boolean {
  return Object.entries(filter).every(
    ([key, value]) => value === undefined || !(key in body) || Object.entries(body).some(([name, found]) => name === key && found === value),
  );
}
