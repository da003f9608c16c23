import { createServer } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Connections } from '../../../agent/swarm/connections.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { MAX_ADVERT_DIALS } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { type Door, openDoor } from '../../../shared/net/door.ts';
import type { Channel } from '../../../shared/net/swarm/channel.ts';
import { Wire } from '../../../shared/net/swarm/wire.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { credentialsOf, DEVICE_A, DEVICE_A2 } from '../../support/broker-rig.ts';

let workshop: Workshop;
const closing: (() => unknown)[] = [];
beforeAll(async () => {
  workshop = await Workshop.open();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A device's connections, and a peer's door that counts who comes. */
async function rig(onSwarm: (wire: Wire) => void, peer = DEVICE_A2): Promise<{ door: Door; connections: Connections; opened: Channel[]; dials: () => number }> {
  let dials = 0;
  const door = await openDoor({
    host: '127.0.0.1',
    port: 0,
    credentials: credentialsOf(workshop.leaf(peer), peer),
    log: silentLog,
    clock: systemClock,
    accept: () => true,
    onSwarm: (socket, identity) => {
      dials += 1;
      onSwarm(Wire.accept(socket, identity));
    },
  });
  const opened: Channel[] = [];
  const heard = (): void => undefined;
  const connections = new Connections({
    device: DEVICE_A,
    credentials: credentialsOf(workshop.leaf(DEVICE_A), DEVICE_A),
    clock: systemClock,
    log: silentLog,
    // The shortest wait after a failure, which is a second; none after an end in peace.
    random: () => 0,
    banned: () => false,
    opened: (channel) => {
      opened.push(channel);
      channel.listen({
        onJoin: heard,
        onHave: heard,
        onAsk: heard,
        onAny: heard,
        onChunk: heard,
        onAbsent: heard,
        onCancel: heard,
        onLeave: heard,
        onGot: heard,
        onClosed: (closed, error) => connections.closed(closed, error),
      });
    },
    unreachable: () => undefined,
  });
  closing.push(
    () => door.close(),
    () => connections.close(),
  );
  return { door, connections, opened, dials: () => dials };
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await systemClock.sleep(10);
};

describe('connections', () => {
  it('do not dial a peer again at once that turns us away', async () => {
    const { door, connections, dials } = await rig((wire) => wire.close(new WardcastError('BUSY', 'enough peers')));
    connections.listed([{ host: '127.0.0.1', port: door.port }]);
    await until(() => dials() === 1 && connections.peers === 0);
    // With an end in peace and these random numbers it would be dialled without any wait.
    await systemClock.sleep(500);
    expect(dials()).toBe(1);
  });

  it('do not dial a peer again for long that was dropped', async () => {
    const { door, connections, opened, dials } = await rig(() => undefined);
    connections.listed([{ host: '127.0.0.1', port: door.port }]);
    await until(() => opened.length === 1);
    const [channel] = opened;
    if (channel === undefined) throw new Error('no channel');
    connections.drop(channel, new WardcastError('OBJECT_TIMEOUT', 'too slow'));
    expect(connections.peers).toBe(0);
    await systemClock.sleep(500);
    expect(dials()).toBe(1);
  });

  it('dial their own address once and never again: the gateway names every device of the group', async () => {
    const { door, connections, dials } = await rig((wire) => wire.close(), DEVICE_A);
    connections.listed([{ host: '127.0.0.1', port: door.port }]);
    await until(() => dials() === 1);
    connections.listed([{ host: '127.0.0.1', port: door.port }]);
    // Any other address that failed would be dialled again after a second.
    await systemClock.sleep(1500);
    expect(dials()).toBe(1);
  });

  it('reach listed peers at once while advertised addresses, however many, do not answer', async () => {
    let held = 0;
    const silent = createServer((socket) => {
      held += 1;
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closing.push(() => silent.close());
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { door, connections, opened } = await rig(() => undefined);
    for (let last = 1; last < 100; last++) connections.advertised({ host: `127.0.0.${last}`, port });
    // The server listens on 127.0.0.1 alone; the others are refused at once.
    connections.listed([{ host: '127.0.0.1', port: door.port }]);
    await until(() => opened.length === 1);
    expect(held).toBeLessThanOrEqual(MAX_ADVERT_DIALS);
  });
});
