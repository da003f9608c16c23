import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** `ip` with the words of one command line; failures carry what it printed. */
async function ip(words: string): Promise<string> {
  const { stdout } = await run('ip', words.split(' '));
  return stdout;
}

export interface Host {
  readonly name: string;
  /** Address by network name. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Starts a process on this host. */
  spawn(command: string, args: readonly string[], options?: { cwd?: string; env?: NodeJS.ProcessEnv }): ChildProcess;
  exec(command: string, args: readonly string[], options?: { env?: NodeJS.ProcessEnv; timeoutMs?: number }): Promise<{ stdout: string; stderr: string }>;
  /** Pulls or plugs the cable to a network. */
  plug(network: string, plugged: boolean): Promise<void>;
}

let made = 0;

/**
 * Hosts in network namespaces of their own, joined by bridges: real interfaces, real multicast, no default route.
 * Needs CAP_NET_ADMIN, which test/run.ts provides through a user namespace.
 */
export class TestNetwork {
  readonly #prefix = `wc${process.pid.toString(36)}${(made++).toString(36)}`;
  readonly #namespaces: string[] = [];
  readonly #bridges = new Map<string, { subnet: string; next: number }>();

  /** A broadcast domain; `subnet` is its first three octets. The test process itself joins with .254 when asked. */
  async network(name: string, subnet: string, options: { joinTest?: boolean } = {}): Promise<void> {
    if (!this.#namespaces.includes('sw')) await this.#namespace('sw');
    const bridge = `br-${name}`;
    await this.#in('sw', `link add ${bridge} type bridge`);
    // Multicast must reach every port at once, as on an unmanaged switch.
    await this.#in('sw', `link set ${bridge} type bridge mcast_snooping 0`);
    await this.#in('sw', `link set ${bridge} up`);
    this.#bridges.set(name, { subnet, next: 10 });
    if (options.joinTest === true) {
      const port = `${this.#prefix}t${this.#bridges.size}`.slice(0, 15);
      await ip(`link add ${port} type veth peer name t-${name} netns ${this.#prefix}sw`);
      await this.#in('sw', `link set t-${name} master ${bridge} up`);
      await ip(`addr add ${subnet}.254/24 dev ${port}`);
      await ip(`link set ${port} up`);
      await ip('link set lo up');
    }
  }

  async host(name: string, networks: readonly string[]): Promise<Host> {
    await this.#namespace(name);
    await this.#in(name, 'link set lo up');
    const addresses: Record<string, string> = {};
    for (const network of networks) {
      const bridge = this.#bridges.get(network);
      if (bridge === undefined) throw new Error(`no network ${network}`);
      const address = `${bridge.subnet}.${bridge.next++}`;
      addresses[network] = address;
      const port = `${name}-${network}`.slice(0, 15);
      await ip(`link add ${network} netns ${this.#prefix}${name} type veth peer name ${port} netns ${this.#prefix}sw`);
      await this.#in('sw', `link set ${port} master br-${network} up`);
      await this.#in(name, `addr add ${address}/24 brd + dev ${network}`);
      await this.#in(name, `link set ${network} up`);
    }
    const namespace = `${this.#prefix}${name}`;
    return {
      name,
      addresses,
      spawn: (command, args, options = {}) =>
        spawn('ip', ['netns', 'exec', namespace, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options, env: options.env ?? process.env }),
      exec: (command, args, options = {}) =>
        run('ip', ['netns', 'exec', namespace, command, ...args], {
          env: options.env ?? process.env,
          timeout: options.timeoutMs ?? 60_000,
          maxBuffer: 1 << 26,
        }),
      plug: async (network, plugged) => {
        await this.#in('sw', `link set ${`${name}-${network}`.slice(0, 15)} ${plugged ? 'up' : 'down'}`);
      },
    };
  }

  /** Shapes what the host receives from a network to `mbit` (token bucket at the bridge's port). */
  async shape(host: Host, network: string, mbit: number): Promise<void> {
    await this.#unshape(host, network);
    await this.#qdisc(host, network, `add root tbf rate ${mbit}mbit burst 32kb latency 60ms`);
  }

  /**
   * Packets on the way to the host get lost, come twice, out of order and with flipped bits; at most `mbit` of them, if given. Where the kernel has no netem
   * they get lost alone, in a queue that is too short.
   * @returns whether it was netem
   */
  async disturb(host: Host, network: string, mbit?: number): Promise<boolean> {
    await this.#unshape(host, network);
    const rate = mbit === undefined ? '' : ` rate ${mbit}mbit`;
    try {
      await this.#qdisc(host, network, `add root netem delay 5ms 3ms reorder 15% 25% loss 2% duplicate 3% corrupt 0.5%${rate}`);
      return true;
    } catch (error) {
      if (!String(error).includes('qdisc kind is unknown')) throw error;
      await this.#qdisc(host, network, `add root tbf rate ${mbit ?? 50}mbit burst 4kb limit 8kb`);
      return false;
    }
  }

  /** As it was made: neither shaped nor disturbed. */
  async calm(host: Host, network: string): Promise<void> {
    await this.#unshape(host, network);
  }

  async #unshape(host: Host, network: string): Promise<void> {
    // There may be none.
    await this.#qdisc(host, network, 'del root').catch(() => undefined);
  }

  async #qdisc(host: Host, network: string, what: string): Promise<void> {
    const [verb = '', ...rest] = what.split(' ');
    const port = `${host.name}-${network}`.slice(0, 15);
    await run('ip', ['netns', 'exec', `${this.#prefix}sw`, 'tc', 'qdisc', verb, 'dev', port, ...rest]);
  }

  async close(): Promise<void> {
    for (const name of this.#namespaces.splice(0).reverse()) await ip(`netns del ${this.#prefix}${name}`);
  }

  async #namespace(name: string): Promise<void> {
    await ip(`netns add ${this.#prefix}${name}`);
    this.#namespaces.push(name);
  }

  async #in(name: string, words: string): Promise<void> {
    await ip(`-n ${this.#prefix}${name} ${words}`);
  }
}
