import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);
const Statistics = z.tuple([z.object({ stats64: z.object({ tx: z.object({ bytes: z.number() }) }) })]);

/** Hosts are numbered: 0 is the gateway, devices count from 1. */
export function addressOf(host: number): string {
  return `10.77.0.${host === 0 ? 1 : 10 + host}`;
}

let opened = 0;

/**
 * A site: the gateway and its devices in network namespaces of their own, on a bridge in a further one, every link shaped both ways to the same
 * rate. Segmentation offload is off, so that shaping and counters see packets as they would be on a wire.
 */
export class Network {
  readonly #prefix = `wn${process.pid.toString(36)}${(opened++).toString(36)}`;
  readonly #namespaces: string[] = [];

  /** @param mbit of every link each way; null: as fast as the machine goes */
  static async open(devices: number, mbit: number | null): Promise<Network> {
    const network = new Network();
    try {
      await network.#namespace('sw', [
        'ip link add br0 type bridge mcast_snooping 0 nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0',
        'ip link set br0 up',
      ]);
      for (let host = 0; host <= devices; host++) await network.#join(host, mbit);
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /** The words that run a command on a host. It dies with us, however we end. */
  on(host: number, command: readonly string[]): string[] {
    return ['setpriv', '--pdeathsig', 'KILL', '--', 'ip', 'netns', 'exec', this.#name(host), ...command];
  }

  /** Bytes that left the host so far, headers included. */
  async sent(host: number): Promise<number> {
    const { stdout } = await run('ip', ['-n', this.#name(host), '-json', '-statistics', 'link', 'show', 'eth0']);
    return Statistics.parse(JSON.parse(stdout))[0].stats64.tx.bytes;
  }

  async close(): Promise<void> {
    for (const name of this.#namespaces.splice(0).reverse()) await run('ip', ['netns', 'del', name]);
  }

  #name(host: number | 'sw'): string {
    return `${this.#prefix}${host}`;
  }

  async #join(host: number, mbit: number | null): Promise<void> {
    const port = `p${host}`;
    const link = (name: string): string[] => [
      `ethtool -K ${name} tso off gso off gro off`,
      ...(mbit === null ? [] : [`tc qdisc add dev ${name} root tbf rate ${mbit}mbit burst 32kb latency 60ms`]),
    ];
    await this.#namespace(host, [
      `ip link add eth0 type veth peer name ${port} netns ${this.#name('sw')}`,
      `ip addr add ${addressOf(host)}/24 brd + dev eth0`,
      'ip link set lo up',
      'ip link set eth0 up',
      // Without a default route, multicast needs to be told where to go.
      'ip route add 224.0.0.0/4 dev eth0',
      ...link('eth0'),
    ]);
    await this.#in('sw', [`ip link set ${port} master br0 up`, ...link(port)]);
  }

  async #namespace(host: number | 'sw', commands: readonly string[]): Promise<void> {
    const name = this.#name(host);
    await run('ip', ['netns', 'add', name]);
    this.#namespaces.push(name);
    await this.#in(host, commands);
  }

  async #in(host: number | 'sw', commands: readonly string[]): Promise<void> {
    await run('ip', ['netns', 'exec', this.#name(host), 'sh', '-e', '-c', commands.join('\n')]);
  }
}
