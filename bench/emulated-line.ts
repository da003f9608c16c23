import { type ChildProcess, execFile, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface LineShape {
  readonly mbit: number;
  /** Milliseconds each way. */
  readonly delay: number;
  /** Share of packets lost, 0–1. */
  readonly loss: number;
}

/** Bytes a router's queue holds before it drops: 100 ms at the line's rate, at least 64 KiB. */
const queueBytes = (shape: LineShape): number => Math.max(65_536, (shape.mbit * 1e6 * 0.1) / 8);

/**
 * A line between two hosts, emulated packet by packet in user space (netem is not in every kernel): each host is a network namespace with a TUN
 * device whose IP packets socat carries over UDP to this process, which delays, paces, queues and drops them. TCP on both ends is the kernel's own.
 */
export class EmulatedLine {
  /** Addresses of the two hosts. */
  readonly far = '10.9.0.1';
  readonly near = '10.9.0.2';
  /** IP bytes carried from far to near. */
  carried = 0;
  readonly #prefix = `wl${process.pid.toString(36)}`;
  readonly #socats: ChildProcess[] = [];
  readonly #sockets: dgram.Socket[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();

  static async open(shape: LineShape): Promise<EmulatedLine> {
    const line = new EmulatedLine();
    const ends = [await line.#end('far', line.far, 1), await line.#end('near', line.near, 2)] as const;
    line.#relay(ends[0], ends[1], shape, true);
    line.#relay(ends[1], ends[0], shape, false);
    for (const end of ends) await end.ready;
    return line;
  }

  /** The words that run a command on one of the hosts. */
  on(host: 'far' | 'near', command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', `${this.#prefix}${host}`, ...command];
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socat of this.#socats) socat.kill('SIGKILL');
    for (const socket of this.#sockets) socket.close();
    for (const host of ['far', 'near']) await run('ip', ['netns', 'del', `${this.#prefix}${host}`]);
  }

  async #end(host: 'far' | 'near', address: string, index: number): Promise<{ send: (packet: Buffer) => void; onPacket: (listener: (packet: Buffer) => void) => void; ready: Promise<void> }> {
    const namespace = `${this.#prefix}${host}`;
    const port = `${this.#prefix}${index}`;
    const ip = (words: string) => run('ip', words.split(' '));
    await ip(`netns add ${namespace}`);
    await ip(`link add ${port} type veth peer name under netns ${namespace}`);
    await ip(`addr add 10.8.${index}.1/24 dev ${port}`);
    await ip(`link set ${port} up`);
    await ip(`-n ${namespace} addr add 10.8.${index}.2/24 dev under`);
    await ip(`-n ${namespace} link set under up`);
    await ip(`-n ${namespace} link set lo up`);

    const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
    this.#sockets.push(socket);
    await new Promise<void>((resolve) => socket.bind(9000, `10.8.${index}.1`, resolve));
    const options = 'sndbuf=4194304,rcvbuf=4194304';
    const socat = spawn('ip', ['netns', 'exec', namespace, 'socat', `TUN:${address}/24,tun-name=tun0,iff-no-pi,iff-up`, `UDP4-DATAGRAM:10.8.${index}.1:9000,bind=10.8.${index}.2:9000,${options}`], { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#socats.push(socat);
    const ready = (async () => {
      for (let i = 0; i < 100; i++) {
        const up = await ip(`-n ${namespace} link show tun0`).then(
          () => true,
          () => false,
        );
        if (up) {
          await ip(`-n ${namespace} link set tun0 mtu 1400 txqueuelen 1000`);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error('socat made no TUN device; is /dev/net/tun there?');
    })();
    return {
      send: (packet) => socket.send(packet, 9000, `10.8.${index}.2`),
      onPacket: (listener) => void socket.on('message', listener),
      ready,
    };
  }

  #relay(from: { onPacket: (listener: (packet: Buffer) => void) => void }, to: { send: (packet: Buffer) => void }, shape: LineShape, counted: boolean): void {
    const perByte = 8 / (shape.mbit * 1e3);
    const held: { at: number; packet: Buffer }[] = [];
    let head = 0;
    let free = 0;
    let timer: NodeJS.Timeout | undefined;
    const flush = (): void => {
      timer = undefined;
      const now = performance.now();
      for (let next = held[head]; next !== undefined && next.at <= now + 0.3; next = held[++head]) to.send(next.packet);
      if (head > 1024) held.splice(0, head), (head = 0);
      const next = held[head];
      if (next !== undefined) {
        timer = setTimeout(flush, Math.max(1, next.at - performance.now()));
        this.#timers.add(timer);
      }
    };
    from.onPacket((packet) => {
      const now = performance.now();
      // Drop-tail: what would wait longer than the queue is lost, as in a router.
      if ((free - now) / perByte > queueBytes(shape)) return;
      free = Math.max(free, now) + packet.length * perByte;
      if (Math.random() < shape.loss) return;
      if (counted) this.carried += packet.length;
      held.push({ at: free + shape.delay, packet });
      if (timer === undefined) flush();
    });
  }
}
