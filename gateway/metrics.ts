import { clockMetrics, Metrics, processMetrics, type Sample } from '../shared/base/metrics.ts';
import type { Link } from '../shared/net/broker.ts';
import type { Door } from '../shared/net/door.ts';
import { doorMetrics } from '../shared/net/metrics-door.ts';
import type { BundleLedger } from './bundle-ledger.ts';
import type { Ledger } from './ledger.ts';
import type { LogHead } from './log-head.ts';
import type { Forwarder } from './outbox/forwarder.ts';
import type { Views } from './relay/views.ts';

interface Parts {
  readonly ledger: Pick<Ledger, 'received' | 'unique'>;
  readonly moved: Pick<BundleLedger, 'total'>;
  readonly views: Pick<Views, 'held'>;
  readonly forwarder: Pick<Forwarder, 'waiting'>;
  readonly link: Pick<Link, 'state'>;
  readonly door: Pick<Door, 'counters'>;
  /** Devices that the broker speaks with. */
  readonly devices: () => number;
  readonly time: { readonly offset: number | undefined };
  readonly logHead: Pick<LogHead, 'contradictions' | 'point'>;
}

/** What a gateway tells of itself. Bytes are since its data directory was made. */
export function gatewayMetrics({ ledger, moved, views, forwarder, link, door, devices, time, logHead }: Parts): Metrics {
  const metrics = new Metrics();
  processMetrics(metrics, { component: 'gateway' });
  metrics.gauge('wardcast_line_up', '1 while the line to the provider is up', () => Number(link.state === 'up'));
  metrics.counter('wardcast_line_received_bytes_total', 'Bytes read from the line', () => ledger.received);
  metrics.counter('wardcast_line_unique_bytes_total', 'Bytes of content that the line brought, each chunk once', () => ledger.unique);
  metrics.counter('wardcast_chunk_bytes_total', 'Bytes of content by source', () => [{ labels: { source: 'line' }, value: moved.total.line }]);
  metrics.counter('wardcast_sent_chunk_bytes_total', 'Bytes of content sent to devices', () => moved.total.gateway);
  metrics.gauge('wardcast_bundles', 'Groups whose bundle is complete here', () => views.held().length);
  metrics.gauge('wardcast_bundle_sequence', 'Newest complete bundle by group', () =>
    views.held().map(({ group, sequence }): Sample => ({ labels: { group }, value: sequence })),
  );
  metrics.gauge('wardcast_connected_devices', 'Devices connected', devices);
  metrics.gauge('wardcast_broker_connections', 'Identities connected to the broker by role', () => [{ labels: { role: 'device' }, value: devices() }]);
  metrics.gauge('wardcast_outbox_statements', 'Statements that wait for the provider’s receipt', () => forwarder.waiting);
  metrics.gauge('wardcast_log_size', 'Entries of the provider’s log by the newest signed head kept here', () => logHead.point?.size ?? 0);
  metrics.gauge('wardcast_log_contradictions', 'Signed heads kept here that the provider’s log did not go on from', () => logHead.contradictions);
  clockMetrics(metrics, time);
  doorMetrics(metrics, door);
  return metrics;
}
