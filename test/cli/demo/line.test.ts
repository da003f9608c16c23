import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, it, onTestFinished } from 'vitest';
import { Line, type LineOptions } from '../../../cli/demo/line.ts';
import { bytesOf } from '../../support/files.ts';

async function farEnd(onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onSocket(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  const address: AddressInfo | string | null = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function lineTo(port: number, options: Partial<LineOptions> = {}): Promise<Line> {
  const line = await Line.open({ target: { host: '127.0.0.1', port }, ...options });
  onTestFinished(() => line.close());
  return line;
}

it('carries bytes both ways unchanged, counts them, and passes each end on', async () => {
  const line = await lineTo(await farEnd((socket) => socket.pipe(socket)));
  const content = bytesOf('line', 3_000_000);
  const socket = connect(line.port, '127.0.0.1');
  socket.end(content);
  expect((await buffer(socket)).equals(content)).toBe(true);
  expect(line.traffic).toEqual({ up: content.length, down: content.length, sent: content.length });
});

it('takes as long as its rate and delay say', async () => {
  const content = bytesOf('line', 200_000);
  const line = await lineTo(await farEnd((socket) => socket.end(content)), { rate: 1_000_000, delay: 50 });
  const start = performance.now();
  const socket = connect(line.port, '127.0.0.1');
  expect((await buffer(socket)).length).toBe(content.length);
  // The lower bound is the emulation; there is no upper one on a busy machine.
  expect(performance.now() - start).toBeGreaterThan(240);
});

it('breaks connections when it is cut, lets none through, and works again when restored', async () => {
  const content = bytesOf('line', 5_000_000);
  const line = await lineTo(await farEnd((socket) => socket.end(content)), { rate: 5_000_000 });
  const socket = connect(line.port, '127.0.0.1');
  const broken = buffer(socket).catch((error: unknown) => error);
  await line.cameDown(100_000);
  line.cut();
  expect(await broken).toBeInstanceOf(Error);
  expect(line.traffic.down).toBeLessThan(content.length);
  await expect(buffer(connect(line.port, '127.0.0.1'))).rejects.toThrow();
  line.restore();
  expect((await buffer(connect(line.port, '127.0.0.1'))).length).toBe(content.length);
});
