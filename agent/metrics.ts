import { clockMetrics, Metrics, processMetrics, Tally } from '../shared/base/metrics.ts';
import type { Door } from '../shared/net/door.ts';
import { doorMetrics } from '../shared/net/metrics-door.ts';
import type { Reporter } from './install/reporter.ts';

/** What an agent counts while it runs; what is told of its past is in its confirmations. */
export class AgentTally {
  readonly bytes = new Tally();
  readonly confirmations = new Tally();
  /** Counter of the last confirmation counted, by application. */
  readonly #last = new Map<string, number>();

  /** The same reporter, counting what is confirmed, each confirmation once. */
  counting(reporter: Reporter): Reporter {
    return {
      compose: (outcome) => reporter.compose(outcome),
      report: async (confirmation) => {
        await reporter.report(confirmation);
        // Said again after something failed behind it: it counted already.
        if (confirmation.counter <= (this.#last.get(confirmation.application) ?? 0)) return;
        this.#last.set(confirmation.application, confirmation.counter);
        this.confirmations.add({ result: confirmation.result });
        for (const [source, bytes] of Object.entries(confirmation.sources ?? {})) this.bytes.add({ source }, bytes);
      },
    };
  }
}

interface Parts {
  readonly tally: AgentTally;
  readonly door: Pick<Door, 'counters'>;
  readonly statements: { readonly waiting: number };
  readonly connected: () => boolean;
  readonly time: { readonly offset: number | undefined };
  /** Sequence of the newest verified bundle; 0: none. */
  readonly sequence: () => number;
}

/** What an agent tells of itself. */
export function agentMetrics({ tally, door, statements, connected, time, sequence }: Parts): Metrics {
  const metrics = new Metrics();
  processMetrics(metrics, { component: 'agent' });
  metrics.counter('wardcast_chunk_bytes_total', 'Bytes of content by source, of installations that ended since the start', () => tally.bytes);
  metrics.counter('wardcast_confirmations_total', 'Installations that ended since the start by result', () => tally.confirmations);
  metrics.gauge('wardcast_gateway_connected', '1 while the gateway is connected', () => Number(connected()));
  metrics.gauge('wardcast_bundles', '1 when a verified bundle is known', () => Number(sequence() > 0));
  metrics.gauge('wardcast_bundle_sequence', 'Newest verified bundle', sequence);
  metrics.gauge('wardcast_outbox_statements', 'Statements that wait for the provider’s receipt', () => statements.waiting);
  clockMetrics(metrics, time);
  doorMetrics(metrics, door);
  return metrics;
}
