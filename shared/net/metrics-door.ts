import type { IncomingMessage, ServerResponse } from 'node:http';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { MAX_METRICS_CONNECTIONS, MAX_METRICS_REQUEST, METRICS_TIMEOUT } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { METRICS_CONTENT_TYPE, type Metrics, type Sample } from '../base/metrics.ts';
import type { Door } from './door.ts';
import { nodeHttp } from './node-http.ts';

export interface MetricsDoor {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Plain http for a collector on the same machine: `GET /metrics` answers, everything else is the same empty 404. Nothing can be changed here, and
 * figures name no content; who may read them is decided by the address it listens on.
 * @throws CONNECTION_FAILED when the address cannot be listened on
 */
export async function openMetricsDoor(o: { readonly host: string; readonly port: number; readonly metrics: Metrics; readonly log: Log }): Promise<MetricsDoor> {
  const server = nodeHttp.createServer(
    {
      maxHeaderSize: MAX_METRICS_REQUEST,
      headersTimeout: METRICS_TIMEOUT,
      requestTimeout: METRICS_TIMEOUT,
      keepAliveTimeout: METRICS_TIMEOUT,
      connectionsCheckingInterval: METRICS_TIMEOUT,
    },
    (request, response) => {
      answer(request, response, o.metrics).catch((error: unknown) => {
        o.log.error('metrics.failed', { error: toWardcastError(error) });
        response.destroy();
      });
    },
  );
  server.maxConnections = MAX_METRICS_CONNECTIONS;
  server.on('clientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new WardcastError('CONNECTION_FAILED', `Cannot listen on ${o.host}:${o.port} for metrics: ${error.message}`, {
          remedy: 'Choose another host or port under [metrics].',
          cause: error,
        }),
      ),
    );
    server.listen(o.port, o.host, resolve);
  });
  server.on('error', (error) => o.log.error('metrics.failed', { error }));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : o.port;
  o.log.info('metrics.ready', { host: o.host, port });
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Who came to a door that proves everybody. */
export function doorMetrics(metrics: Metrics, door: Pick<Door, 'counters'>): void {
  metrics.counter('wardcast_door_connections_total', 'Connections at the door since the start by what became of them', () => {
    const { accepted, refused, dropped } = door.counters;
    return Object.entries({ accepted, refused, dropped }).map(([result, value]): Sample => ({ labels: { result }, value }));
  });
  metrics.gauge('wardcast_door_open_connections', 'Connections open now', () => door.counters.open);
}

async function answer(request: IncomingMessage, response: ServerResponse, metrics: Metrics): Promise<void> {
  if (request.method !== 'GET' || request.url !== '/metrics') {
    // What is still being sent is not waited for.
    response.writeHead(404, { 'content-length': 0, connection: 'close' });
    response.end();
    return;
  }
  const text = Buffer.from(await metrics.text(), 'utf8');
  response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE, 'content-length': text.length });
  response.end(text);
}
