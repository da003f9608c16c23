import { MAX_METRIC_SERIES } from './limits.ts';

/** One time series of a family now. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
export type Samples = number | Iterable<Sample> | AsyncIterable<Sample>;
type Kind = 'counter' | 'gauge';
interface Family {
  readonly name: string;
  readonly kind: Kind;
  readonly help: string;
  readonly read: () => Samples | Promise<Samples>;
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * What a daemon counts, read when somebody asks: figures are kept where they come to be, and nothing is counted twice.
 * Written in the Prometheus text format 0.0.4.
 */
export class Metrics {
  readonly #families = new Map<string, Family>();

  /** Only ever rises while the process lives; the name ends in `_total`. */
  counter(name: string, help: string, read: Family['read']): void {
    this.#add({ name, kind: 'counter', help, read });
  }

  gauge(name: string, help: string, read: Family['read']): void {
    this.#add({ name, kind: 'gauge', help, read });
  }

  /** Every family with at most MAX_METRIC_SERIES series; what cannot be read is left out, and counted. */
  async text(): Promise<string> {
    const lines: string[] = [];
    let omitted = 0;
    for (const family of this.#families.values()) {
      const { series, left } = await read(family);
      omitted += left;
      if (series.length > 0) lines.push(`# HELP ${family.name} ${escapeHelp(family.help)}`, `# TYPE ${family.name} ${family.kind}`, ...series);
    }
    const own = 'wardcast_metrics_omitted_series';
    lines.push(`# HELP ${own} Series left out of this answer: too many of one family, or not readable`, `# TYPE ${own} gauge`, `${own} ${omitted}`);
    return `${lines.join('\n')}\n`;
  }

  #add(family: Family): void {
    if (!/^[a-z][a-z0-9_]*$/.test(family.name) || (family.kind === 'counter') !== family.name.endsWith('_total') || this.#families.has(family.name))
      throw new TypeError(`${family.name} is no name for a ${family.kind}, or taken`);
    this.#families.set(family.name, family);
  }
}

/** A counter that counts by itself, one series for each set of labels. */
export class Tally implements Iterable<Sample> {
  readonly #series = new Map<string, { readonly labels: Sample['labels']; value: number }>();

  add(labels: Sample['labels'], by = 1): void {
    const key = JSON.stringify(labels);
    const series = this.#series.get(key);
    if (series !== undefined) series.value += by;
    // Whoever chooses labels must not fill memory with them.
    else if (this.#series.size < MAX_METRIC_SERIES) this.#series.set(key, { labels, value: by });
  }

  [Symbol.iterator](): Iterator<Sample> {
    return this.#series.values();
  }
}

/** `offset` in milliseconds; undefined: nobody can tell. */
export function clockMetrics(metrics: Metrics, time: { readonly offset: number | undefined }): void {
  metrics.gauge('wardcast_clock_offset_seconds', 'The machine’s clock minus the signed time; absent while nobody can tell', () =>
    time.offset === undefined ? [] : [{ labels: {}, value: time.offset / 1000 }],
  );
}

/** What every daemon tells of its process. */
export function processMetrics(metrics: Metrics, about: { readonly component: string }): void {
  metrics.gauge('wardcast_up', 'Always 1; names the component', () => [{ labels: about, value: 1 }]);
  metrics.gauge('wardcast_process_resident_memory_bytes', 'Resident memory of the process', () => process.memoryUsage.rss());
  metrics.counter('wardcast_process_cpu_seconds_total', 'CPU time of the process, user and system', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge('wardcast_process_uptime_seconds', 'Time since the process was started', () => process.uptime());
}

async function read({ name, read: samples }: Family): Promise<{ series: string[]; left: number }> {
  const series: string[] = [];
  let left = 0;
  try {
    const found = await samples();
    if (typeof found === 'number') return { series: [line(name, {}, found)], left };
    for await (const { labels, value } of found) {
      if (series.length < MAX_METRIC_SERIES) series.push(line(name, labels, value));
      else left += 1;
    }
  } catch {
    // One figure that cannot be had (the database is closing) must not cost all the others; that it is missing is told.
    left += 1;
  }
  return { series, left };
}

function line(name: string, labels: Sample['labels'], value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${Number.isFinite(value) ? value : 'NaN'}`;
}

function escapeHelp(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
}
