import { z } from 'zod';
import type { Advertised, DiscoveryKind } from './discovery.ts';

/** Our adverts as DNS records (RFC 6762, RFC 6763), and back. */

const SERVICES: Readonly<Record<DiscoveryKind, string>> = { gateway: '_wardcast-gw._tcp.local', agent: '_wardcast-agent._tcp.local' };
const VERSION = 'v=1';
/** Seconds; RFC 6762 section 10 has 120 for records that name a host. */
const TTL = 120;

export function serviceName(kind: DiscoveryKind): string {
  return SERVICES[kind];
}

interface DnsRecord {
  readonly name: string;
  readonly type: 'PTR' | 'SRV' | 'TXT' | 'A';
  ttl: number;
  readonly data: unknown;
}

/** @param address the one IPv4 address it is reachable at: not those of other interfaces, which are nobody's business here */
export function printAdvert({ kind, instance, port }: Advertised, address: string, ttl = TTL): DnsRecord[] {
  const service = SERVICES[kind];
  const name = `${instance}.${service}`;
  const host = `${instance}.local`;
  return [
    { name: service, type: 'PTR', ttl, data: name },
    { name, type: 'SRV', ttl, data: { priority: 0, weight: 0, port, target: host } },
    { name, type: 'TXT', ttl, data: [Buffer.from(VERSION), Buffer.from(`id=${instance}`)] },
    { name: host, type: 'A', ttl, data: address },
  ];
}

const Pointer = z.object({ type: z.literal('PTR'), name: z.string(), ttl: z.number(), data: z.string().max(255) });
const Service = z.object({ type: z.literal('SRV'), name: z.string(), ttl: z.number(), data: z.object({ port: z.number() }) });
const Text = z.object({ type: z.literal('TXT'), name: z.string(), data: z.array(z.instanceof(Uint8Array)).max(16) });
const Packet = z.object({ answers: z.array(z.unknown()).max(1000), additionals: z.array(z.unknown()).max(1000) });

export interface ParsedAdvert {
  readonly instance: string;
  /** Undefined: it says good-bye. */
  readonly port: number | undefined;
}

/** The adverts of one kind in an mDNS response; a stranger's word, so that anything unexpected is left out. */
export function parseAdverts(packet: unknown, kind: DiscoveryKind): ParsedAdvert[] {
  const parsed = Packet.safeParse(packet);
  if (!parsed.success) return [];
  const service = SERVICES[kind];
  const records = [...parsed.data.answers, ...parsed.data.additionals];
  const adverts: ParsedAdvert[] = [];
  for (const record of records) {
    const pointer = isOfType(record, 'PTR') ? Pointer.safeParse(record).data : undefined;
    if (pointer === undefined || !sameName(pointer.name, service) || !pointer.data.toLowerCase().endsWith(`.${service}`)) continue;
    const instance = pointer.data.slice(0, -service.length - 1).toLowerCase();
    if (pointer.ttl === 0) adverts.push({ instance, port: undefined });
    else {
      const port = portOf(records, pointer.data);
      if (port !== undefined && isOurs(records, pointer.data, instance)) adverts.push({ instance, port });
    }
  }
  return adverts;
}

function portOf(records: readonly unknown[], name: string): number | undefined {
  for (const record of records) {
    const service = isOfType(record, 'SRV') ? Service.safeParse(record).data : undefined;
    if (service !== undefined && service.ttl > 0 && sameName(service.name, name)) return service.data.port;
  }
  return undefined;
}

function isOurs(records: readonly unknown[], name: string, instance: string): boolean {
  return records.some((record) => {
    const text = isOfType(record, 'TXT') ? Text.safeParse(record).data : undefined;
    if (text === undefined || !sameName(text.name, name)) return false;
    const entries = text.data.map((entry) => Buffer.from(entry).toString('latin1'));
    return entries.includes(VERSION) && entries.includes(`id=${instance}`);
  });
}

/** Asked before a schema: to find that one does not fit costs far more, and a flood of packets is mostly records that do not. */
function isOfType(record: unknown, type: DnsRecord['type']): boolean {
  return typeof record === 'object' && record !== null && 'type' in record && record.type === type;
}

/** DNS names do not tell upper from lower case. */
function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
