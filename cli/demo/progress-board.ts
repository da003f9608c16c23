import type { EventBody } from '../../shared/wire/ops.ts';
import { bytesText, percent } from '../units.ts';
import type { Narrator } from './narrator.ts';
import type { RegistryView } from './registry-view.ts';

type Progress = EventBody<'progress'>;

interface Row {
  readonly label: string;
  phase: Progress['phase'];
  total: number;
  done: number;
  line: number;
  gateway: number;
  peer: number;
  own: number;
  patch: number;
}

const SOURCES = ['line', 'gateway', 'peer', 'own', 'patch'] as const;

/**
 * Shows what is under way: live bars on a terminal, and a line for each tenth of a site's line elsewhere.
 * Devices are summed up when they are done, since eight of them at once would say more than anybody reads.
 */
export class ProgressBoard {
  readonly #narrator: Narrator;
  readonly #rows = new Map<string, Row>();
  readonly #told = new Map<string, number>();
  readonly #stop: () => void;
  readonly #bars: Bars | undefined;

  private constructor(narrator: Narrator, view: RegistryView, bars: Bars | undefined) {
    this.#narrator = narrator;
    this.#bars = bars;
    this.#stop = view.onProgress((event) => this.#take(event));
  }

  static async open(narrator: Narrator, view: RegistryView): Promise<ProgressBoard> {
    const bars = narrator.terminal ? await Bars.open() : undefined;
    if (bars !== undefined) narrator.redirect((text) => bars.above(text));
    return new ProgressBoard(narrator, view, bars);
  }

  /** Takes the bars away. */
  close(): void {
    this.#stop();
    this.#bars?.close();
    this.#narrator.redirect();
  }

  /** Says in a line per site and device where its bytes came from. */
  sumUp(): void {
    for (const row of [...this.#rows.values()].sort((a, b) => a.label.localeCompare(b.label))) {
      if (row.phase !== 'failed') this.#narrator.good(`${row.label.padEnd(44)} ${this.#narrator.colors.dim(sources(row))}`);
    }
  }

  #take(event: Progress): void {
    const relay = event.device === undefined;
    const place = `${event.customer}/${event.site}`;
    const label = relay ? `${place} line, for ${event.group}` : `${place}/${event.device} ${event.application ?? ''} ${event.version ?? ''}`.trimEnd();
    const row = this.#rows.get(label) ?? { label, phase: event.phase, total: 0, done: 0, line: 0, gateway: 0, peer: 0, own: 0, patch: 0 };
    this.#rows.set(label, row);
    row.phase = event.phase;
    row.total = Math.max(row.total, event.total);
    row.done = Math.max(row.done, event.done);
    // Events are lossy and the last one may count from a resumed start: the most that was ever said is what counts.
    for (const source of SOURCES) row[source] = Math.max(row[source], event.sources[source]);
    if (this.#bars !== undefined) this.#bars.show(row);
    else if (relay) this.#tellTenth(row);
  }

  #tellTenth(row: Row): void {
    const tenth = Math.floor(percent(row.done, row.total) / 10);
    if (row.total === 0 || tenth <= (this.#told.get(row.label) ?? 0)) return;
    this.#told.set(row.label, tenth);
    this.#narrator.say(this.#narrator.colors.dim(`${String(tenth * 10).padStart(3)} %  ${row.label}  ${bytesText(row.done)} of ${bytesText(row.total)}`));
  }
}

function sources(row: Row): string {
  const parts: (readonly [string, number])[] = [
    ['over the line', row.line],
    ['from the gateway', row.gateway],
    ['from peers', row.peer],
    ['from own old files', row.own],
    ['made by a patch', row.patch],
  ];
  const said = parts.filter(([, bytes]) => bytes > 0).map(([from, bytes]) => `${bytesText(bytes)} ${from}`);
  return said.length === 0 ? 'confirmed' : said.join(', ');
}

class Bars {
  readonly #multi: import('cli-progress').MultiBar;
  readonly #shown = new Map<string, import('cli-progress').SingleBar>();

  private constructor(multi: import('cli-progress').MultiBar) {
    this.#multi = multi;
  }

  static async open(): Promise<Bars> {
    const { MultiBar } = (await import('cli-progress')).default;
    return new Bars(
      new MultiBar({
        barCompleteChar: '█',
        barIncompleteChar: '░',
        format: '   {bar} {percentage} %  {label}  {sources}',
        barsize: 24,
        hideCursor: true,
        clearOnComplete: true,
        linewrap: false,
        forceRedraw: true,
      }),
    );
  }

  show(row: Row): void {
    const total = Math.max(1, row.total);
    const ended = row.phase === 'done' || row.phase === 'relayed' || row.phase === 'failed';
    const bar = this.#shown.get(row.label) ?? this.#multi.create(total, 0, { label: row.label, sources: '' });
    this.#shown.set(row.label, bar);
    bar.setTotal(total);
    bar.update(ended ? total : Math.min(total, row.done), { label: row.label, sources: sources(row) });
  }

  /** A line of text that stays, above the bars. */
  above(text: string): void {
    this.#multi.log(`${text}\n`);
  }

  close(): void {
    this.#multi.stop();
  }
}
