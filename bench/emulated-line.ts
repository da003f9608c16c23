import { type ChildProcess, execFile, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { type LineShape, OneWay } from './one-way.ts';

const run = promisify(execFile);
const ip = (words: string): Promise<unknown> => run('ip', words.split(' '));

export type Host = 'far' | 'near';
let opened = 0;

/**
 * A line between two hosts, emulated packet by packet in user space (netem is not in every kernel): each host is a network namespace with a TUN
 * device whose IP packets socat carries over UDP to this process, which delays, paces, queues and drops them. TCP on both ends is the kernel's own.
 */
export class EmulatedLine {
  /** Addresses of the two hosts. */
  readonly far = '10.9.0.1';
  readonly near = '10.9.0.2';
  readonly #number = opened++;
  readonly #prefix = `wl${process.pid.toString(36)}${this.#number.toString(36)}`;
  readonly #socats: { readonly process: ChildProcess; readonly exit: Promise<unknown> }[] = [];
  readonly #sockets: dgram.Socket[] = [];
  readonly #directions: OneWay[] = [];

  static async open(shape: LineShape): Promise<EmulatedLine> {
    const line = new EmulatedLine();
    const far = await line.#end('far', line.far, 1);
    const near = await line.#end('near', line.near, 2);
    line.#join(far, near, shape);
    line.#join(near, far, shape);
    for (const host of ['far', 'near'] as const) await line.#tunnelUp(host);
    return line;
  }

  /** What went from far to near since the line was opened. */
  get carried(): { readonly bytes: number; readonly payload: number } {
    return { ...(this.#directions[0]?.carried ?? { bytes: 0, payload: 0 }) };
  }

  /** The words that run a command on one of the hosts: below the line's own priority, since a line that waits for a processor is no line. */
  on(host: Host, command: readonly string[]): string[] {
    return this.#inside(host, ['nice', '-n', '10', ...command]);
  }

  async close(): Promise<void> {
    for (const { process: socat } of this.#socats) socat.kill('SIGKILL');
    await Promise.all(this.#socats.map(({ exit }) => exit));
    for (const socket of this.#sockets) socket.close();
    for (const direction of this.#directions) direction.close();
    for (const host of ['far', 'near'] as const) await ip(`netns del ${this.#namespace(host)}`);
  }

  #inside(host: Host, command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.#namespace(host), ...command];
  }

  #namespace(host: Host): string {
    return `${this.#prefix}${host}`;
  }

  async #end(host: Host, address: string, index: number): Promise<{ socket: dgram.Socket; address: string }> {
    const namespace = this.#namespace(host);
    const port = `${this.#prefix}${index}`;
    const net = `10.${16 + this.#number}.${index}`;
    await ip(`netns add ${namespace}`);
    await ip(`link add ${port} type veth peer name under netns ${namespace}`);
    await ip(`addr add ${net}.1/24 dev ${port}`);
    await ip(`link set ${port} up`);
    await ip(`-n ${namespace} addr add ${net}.2/24 dev under`);
    await ip(`-n ${namespace} link set under up`);
    await ip(`-n ${namespace} link set lo up`);
    // What the kernel learnt from earlier connections would give later ones a better start. Where it cannot be switched off, that is so for all.
    const [shell = '', ...words] = this.on(host, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save']);
    await run(shell, words).catch(() => undefined);

    const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
    this.#sockets.push(socket);
    // Packets that find nobody at the other end are lost, as on any line.
    socket.on('error', () => undefined);
    await new Promise<void>((resolve) => socket.bind(9000, `${net}.1`, resolve));
    const tunnel = `TUN:${address}/24,tun-name=tun0,iff-no-pi,iff-up`;
    const carrier = `UDP4-DATAGRAM:${net}.1:9000,bind=${net}.2:9000,sndbuf=4194304,rcvbuf=4194304`;
    const [program = '', ...args] = this.#inside(host, ['socat', tunnel, carrier]);
    const socat = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#socats.push({ process: socat, exit: once(socat, 'exit') });
    return { socket, address: `${net}.2` };
  }

  #join(from: { socket: dgram.Socket }, to: { socket: dgram.Socket; address: string }, shape: LineShape): void {
    const direction = new OneWay(shape, (packet) => to.socket.send(packet, 9000, to.address));
    this.#directions.push(direction);
    from.socket.on('message', (packet) => direction.push(packet));
  }

  async #tunnelUp(host: Host): Promise<void> {
    const namespace = this.#namespace(host);
    for (let tries = 0; tries < 100; tries++) {
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
  }
}
