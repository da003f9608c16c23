/** One measured line: which bench, who ran, with what, and the figures. `ratio` is the figure that a target speaks of. */
export interface Row {
  readonly bench: string;
  readonly contestant: string;
  readonly [key: string]: string | number | boolean | null;
}

export interface BenchContext {
  /** Fewer runs and smaller inputs. */
  readonly quick: boolean;
  readonly runs: number;
  readonly signal: AbortSignal;
  /** An empty folder that is removed afterwards. */
  readonly directory: string;
  /** For `delta`: the two releases to compare instead of its own. */
  readonly pair?: { readonly old: string; readonly new: string } | undefined;
  note(text: string): void;
}

export type Bench = (context: BenchContext) => Promise<Row[]>;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/** To `digits` significant places: more would be noise. */
export function round(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}
