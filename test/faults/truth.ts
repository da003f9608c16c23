/** What must be true when everything was healed, as a function of what was seen. */

export interface Observed {
  /** Differences between the registry and what its log says. */
  readonly differences: readonly string[];
  /** What the registry says of each device and application, and what lies on that device's disk. */
  readonly rows: readonly {
    readonly device: string;
    readonly application: string;
    readonly registered: string | null;
    readonly installed: string | undefined;
    /** Files that are not, byte for byte, those that were signed. */
    readonly altered: readonly string[];
  }[];
  /** Content of another group's releases on a device's disk. */
  readonly foreign: readonly string[];
  /** Trees that were seen to run, while things went wrong, and were no release. */
  readonly halves: readonly string[];
  /** Statements on the log, as `device counter`. */
  readonly statements: readonly string[];
  /** Statements that still wait for a receipt, by daemon. */
  readonly waiting: Readonly<Record<string, number>>;
  readonly line: {
    /** Bytes of content that were new to the site in this round, and that the line brought in it. */
    readonly content: number;
    readonly received: number;
    /** Faults that cost what was on its way. */
    readonly breaks: number;
  };
}

/** Bytes over the line for each byte of content. */
const MAX_RATIO = 1.1;
/** Bytes beside content: hellos, metadata and manifests of a round, and again at each reconnect, with what was on its way and got lost. */
const CONTROL = 600_000;
const LOST_PER_BREAK = 1_500_000;

/** What is wrong, one sentence each; empty: nothing. */
export function faultsIn(seen: Observed): string[] {
  const wrong: string[] = seen.differences.map((difference) => `the registry is not what its log says: ${difference}`);
  for (const { device, application, registered, installed, altered } of seen.rows) {
    if (registered !== (installed ?? null)) wrong.push(`the registry says that ${device} runs ${application} ${registered}; it runs ${installed}`);
    if (altered.length > 0) wrong.push(`${device} runs an altered ${application}: ${altered.join(', ')}`);
  }
  wrong.push(...seen.foreign.map((where) => `another group's content: ${where}`));
  wrong.push(...seen.halves.map((what) => `a half-installed tree was visible: ${what}`));
  for (const [statement, times] of Object.entries(Object.groupBy(seen.statements, (key) => key))) {
    if (times !== undefined && times.length > 1) wrong.push(`statement ${statement} is on the log ${times.length} times`);
  }
  for (const [daemon, count] of Object.entries(seen.waiting)) if (count !== 0) wrong.push(`${count} statements of ${daemon} never got their receipt`);
  const { content, received, breaks } = seen.line;
  const allowed = MAX_RATIO * content + CONTROL + breaks * LOST_PER_BREAK;
  if (received > allowed) wrong.push(`the line carried ${received} bytes for ${content} of content and ${breaks} breaks; ${Math.floor(allowed)} are allowed`);
  return wrong;
}
