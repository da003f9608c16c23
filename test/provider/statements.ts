import type { Confirmation, Inventory } from '../../shared/wire/messages.ts';

const HOME = { customer: 'acme', site: 'north', group: 'ct' } as const;
const AT = '2026-01-02T03:04:05.000Z';

export function manifestOf(text: string): string {
  return Buffer.from(text).toString('hex').padEnd(64, '0').slice(0, 64);
}

export function confirmation(device: string, counter: number, parts: Partial<Confirmation> & { version?: string } = {}): Confirmation {
  const application = parts.application ?? 'viewer';
  const version = parts.version ?? '1.0.0';
  const manifest = parts.manifest ?? manifestOf(`${application} ${version}`);
  return {
    type: 'confirmation',
    ...HOME,
    device,
    counter,
    at: AT,
    application,
    version,
    manifest,
    sequence: 1,
    result: 'installed',
    running: { version, manifest },
    ...parts,
  };
}

export function inventory(device: string, counter: number, running: Readonly<Record<string, string>> = {}, parts: Partial<Inventory> = {}): Inventory {
  const applications = Object.entries(running).map(([application, version]) => ({ application, version, manifest: manifestOf(`${application} ${version}`) }));
  return { type: 'inventory', ...HOME, device, counter, at: AT, agent: '0.1.0', applications, ...parts };
}
