import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';

/** How somebody behaves who says something at a door. */
export interface Manner {
  /** All in one write, packet by packet, or the beginning byte by byte. */
  readonly pace: 'burst' | 'each' | 'drip';
  /** Never reads what comes back. */
  readonly deaf: boolean;
  /** Waits for an answer and ends properly, resets, half-closes and stays, or just stays. */
  readonly leave: 'end' | 'reset' | 'half' | 'stay';
  /** Milliseconds for answers before leaving. */
  readonly linger: number;
}

export const manner: fc.Arbitrary<Manner> = fc.record({
  pace: fc.constantFrom('burst', 'burst', 'burst', 'each', 'each', 'drip'),
  deaf: fc.nat(5).map((value) => value === 0),
  leave: fc.constantFrom('end', 'end', 'end', 'reset', 'reset', 'reset', 'half', 'stay'),
  linger: fc.constantFrom(0, 0, 1, 3, 15),
});

/** Bytes of a session that are sent one at a time. */
const DRIPS = 40;
/** Milliseconds after which a door that does not read is left alone, and for which somebody stays who does not leave. */
const PATIENCE = 1000;
const STAY = 3000;
/** Of those who stay, at once. */
const MAX_STAYING = 100;
const staying = new Set<Socket>();

/**
 * One session from the connection on. Never rejects: what the door does to the connection is its own business.
 * @param reset ends the connection without a goodbye; over TCP by a reset
 */
export async function converse(
  socket: Socket,
  said: readonly Buffer[],
  { pace, deaf, leave, linger }: Manner,
  reset = () => void socket.destroy(),
): Promise<void> {
  let over = false;
  const closed = new Promise<void>((resolve) =>
    socket.once('close', () => {
      over = true;
      resolve();
    }),
  );
  socket.on('error', () => undefined);
  if (deaf) socket.pause();
  else socket.resume();
  const write = async (bytes: Buffer): Promise<void> => {
    if (over || !socket.writable || bytes.length === 0) return;
    if (!socket.write(bytes)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed, sleep(PATIENCE, undefined, { ref: false })]);
  };
  for (const bytes of pace === 'burst' ? [Buffer.concat([...said])] : said) {
    const dripped = pace === 'drip' ? Math.min(DRIPS, bytes.length) : 0;
    for (let at = 0; at < dripped; at++) {
      await write(bytes.subarray(at, at + 1));
      await turn();
    }
    await write(bytes.subarray(dripped));
  }
  if (linger > 0 && !over) await Promise.race([closed, sleep(linger)]);
  if (leave === 'reset') reset();
  else if (leave === 'end') {
    socket.end();
    socket.resume();
    await Promise.race([closed, sleep(PATIENCE, undefined, { ref: false })]);
    socket.destroy();
  } else {
    if (leave === 'half') socket.end();
    stay(socket);
  }
}

/** Connections that are simply left open, some of them half: the oldest gives way. */
function stay(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), STAY);
  staying.add(socket);
  socket.once('close', () => {
    clearTimeout(timer);
    staying.delete(socket);
  });
  if (staying.size > MAX_STAYING)
    for (const oldest of staying) {
      oldest.destroy();
      break;
    }
}

export function dropStaying(): void {
  for (const socket of staying) socket.destroy();
}
