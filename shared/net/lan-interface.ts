import { BlockList, isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { WardcastError } from '../base/errors.ts';

export interface LanInterface {
  /** IPv4 address of this machine on it. */
  readonly address: string;
  /** Is this address on the same network? */
  contains(address: string): boolean;
}

/**
 * The one interface that multicast may use, by name or by one of its IPv4 addresses.
 * @throws CONFIG_INVALID when this machine has no such interface now
 */
export function lanInterface(nameOrAddress: string): LanInterface {
  const wanted = nameOrAddress === 'localhost' ? '127.0.0.1' : nameOrAddress;
  if (/^127\./.test(wanted) && isIPv4(wanted)) return { address: wanted, contains: inSubnet('127.0.0.0', 8) };
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    for (const { address, family, cidr } of addresses) {
      if (family !== 'IPv4' || (name !== wanted && address !== wanted)) continue;
      return { address, contains: inSubnet(address, Number(cidr?.split('/')[1] ?? 32)) };
    }
  }
  throw new WardcastError('CONFIG_INVALID', `${JSON.stringify(nameOrAddress)} is no interface of this machine with an IPv4 address, nor such an address`, {
    remedy: 'Set [lan] interface to a name or address that `ip -4 address` shows: mDNS uses no interface that nobody named.',
    context: { interface: nameOrAddress },
  });
}

function inSubnet(network: string, prefix: number): (address: string) => boolean {
  const subnet = new BlockList();
  subnet.addSubnet(network, prefix, 'ipv4');
  return (address) => isIPv4(address) && subnet.check(address, 'ipv4');
}
