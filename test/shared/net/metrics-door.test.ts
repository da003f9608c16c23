import http from 'node:http';
import net from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { MAX_METRICS_CONNECTIONS } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { Metrics } from '../../../shared/base/metrics.ts';
import { openMetricsDoor } from '../../../shared/net/metrics-door.ts';
import { expectExposition } from '../../support/exposition.ts';

async function open(): Promise<number> {
  const metrics = new Metrics();
  metrics.gauge('wardcast_answer', 'The answer', () => 42);
  const door = await openMetricsDoor({ host: '127.0.0.1', port: 0, metrics, log: silentLog });
  onTestFinished(() => door.close());
  return door.port;
}

function ask(port: number, path: string, method = 'GET', body?: string): Promise<{ status: number; headers: http.IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, path, method, agent: false }, async (response) => {
      let text = '';
      for await (const part of response) text += String(part);
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    });
    request.on('error', reject);
    request.end(body);
  });
}

it('tells its figures to GET /metrics', async () => {
  const answer = await ask(await open(), '/metrics');
  expect(answer.status).toBe(200);
  expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(expectExposition(answer.text).get('wardcast_answer')).toEqual([{ labels: {}, value: 42 }]);
});

it('answers everything else with the same empty 404', async () => {
  const port = await open();
  const tries: [string, string][] = [
    ['GET', '/'],
    ['GET', '/metrics/'],
    ['GET', '/metrics?x=1'],
    ['GET', '/../metrics'],
    ['GET', '//metrics'],
    ['HEAD', '/metrics'],
    ['POST', '/metrics'],
    ['PUT', '/metrics'],
    ['DELETE', '/metrics'],
    ['OPTIONS', '*'],
  ];
  const answers = await Promise.all(tries.slice(0, 5).map(([method, path]) => ask(port, path, method)));
  answers.push(...(await Promise.all(tries.slice(5).map(([method, path]) => ask(port, path, method, method === 'POST' ? 'x' : undefined)))));
  for (const { status, headers, text } of answers) {
    const { date: _, ...told } = headers;
    expect({ status, text, told }).toEqual({ status: 404, text: '', told: { 'content-length': '0', connection: 'close' } });
  }
});

it('keeps a bounded number of connections, and ends nonsense at once', async () => {
  const port = await open();
  const sockets = Array.from({ length: MAX_METRICS_CONNECTIONS }, () => net.connect(port, '127.0.0.1'));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
  const ended = (socket: net.Socket): Promise<void> =>
    new Promise((resolve) => {
      socket.on('error', () => undefined).once('close', () => resolve());
      socket.resume();
    });
  await ended(net.connect(port, '127.0.0.1'));
  const [first] = sockets;
  if (first === undefined) throw new Error('no socket');
  first.write('\0\x16nonsense\r\n\r\n');
  await ended(first);
});
