import { identityPath } from '../shared/base/identity.ts';
import { Metrics, processMetrics, type Sample, Tally } from '../shared/base/metrics.ts';
import type { EmbeddedBroker } from '../shared/net/broker.ts';
import type { Door } from '../shared/net/door.ts';
import { doorMetrics } from '../shared/net/metrics-door.ts';
import type { Statement } from '../shared/wire/messages.ts';
import type { Verdict } from './record/statement.ts';
import type { Registry } from './registry/registry.ts';
import { prefixes } from './registry/rows.ts';
import type { Reports } from './reports.ts';

/** What a provider counts while it runs. */
export class ProviderTally {
  readonly statements = new Tally();
  readonly confirmations = new Tally();
  readonly bundles = new Tally();

  /** A statement was judged. */
  readonly stated = (statement: Statement, { outcome }: Verdict): void => {
    this.statements.add({ type: statement.type, outcome });
    if (statement.type === 'confirmation' && outcome === 'record') this.confirmations.add({ result: statement.result });
  };
}

interface Parts {
  readonly tally: ProviderTally;
  readonly registry: Registry;
  readonly reports: Pick<Reports, 'allCounters'>;
  readonly broker: Pick<EmbeddedBroker, 'onPresence' | 'connected'>;
  readonly door: Pick<Door, 'counters'>;
}

/** What a provider tells of itself, and of every site in sum; devices and releases are for `status` and `trace`. */
export function providerMetrics({ tally, registry, reports, broker, door }: Parts): Metrics {
  const metrics = new Metrics();
  const present = new Map<string, string>();
  broker.onPresence(({ identity, connected }) => {
    // A connection may end when the next one of the same identity is there already.
    if (connected) present.set(identityPath(identity), identity.role);
    else if (!broker.connected(identity)) present.delete(identityPath(identity));
  });
  processMetrics(metrics, { component: 'provider' });
  metrics.counter('wardcast_line_received_bytes_total', 'Bytes read from the line by site, as its gateway reports', async function* () {
    for await (const { customer, site, line } of reports.allCounters()) yield { labels: { customer, site }, value: line.received };
  });
  metrics.counter('wardcast_line_unique_bytes_total', 'Bytes of content that the line brought, each chunk once, as the gateway reports', async function* () {
    for await (const { customer, site, line } of reports.allCounters()) yield { labels: { customer, site }, value: line.unique };
  });
  metrics.counter('wardcast_sent_chunk_bytes_total', 'Bytes of content sent to devices, as the gateway reports', async function* () {
    for await (const { customer, site, content } of reports.allCounters()) yield { labels: { customer, site }, value: content.gateway };
  });
  metrics.counter('wardcast_chunk_bytes_total', 'Bytes of content by site and source, as devices have signed', async function* () {
    for await (const { customer, site, gateway, peer, own, patch = 0 } of registry.list(prefixes.sitesMoved())) {
      for (const [source, value] of Object.entries({ gateway, peer, own, patch })) yield { labels: { customer, site, source }, value };
    }
  });
  metrics.counter('wardcast_confirmations_total', 'Confirmations recorded since the start by result', () => tally.confirmations);
  metrics.counter('wardcast_statements_total', 'Statements judged since the start by type and outcome', () => tally.statements);
  metrics.counter('wardcast_bundles_total', 'Bundles assigned since the start', () => tally.bundles);
  metrics.gauge('wardcast_log_entries', 'Entries of the record log', () => registry.head.sequence);
  metrics.gauge('wardcast_broker_connections', 'Identities connected to the broker by role', () =>
    ['gateway', 'ops'].map((role): Sample => ({ labels: { role }, value: [...present.values()].filter((one) => one === role).length })),
  );
  doorMetrics(metrics, door);
  return metrics;
}
