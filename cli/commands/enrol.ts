import type { Command } from 'commander';
import { isWardcastError } from '../../shared/base/errors.ts';
import { MAX_TOKEN_LIFETIME, TOKEN_LIFETIME } from '../../shared/base/limits.ts';
import { argument, type Call, id, inherit, leaf, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';

/** Codes and approvals for new devices. */
export function declare(parent: Command, description: string): void {
  const enrol = inherit(parent.command('enrol')).description(description);

  withConnection(
    leaf(enrol, 'token', 'make a code that new devices of one group at one site enrol with; it is shown once', makeToken)
      .option('--customer <customer>', 'whose devices; with --gateway: its own')
      .option('--site <site>', 'where they stand; with --gateway: its own')
      .requiredOption('--group <group>', 'what they are entitled to')
      .option('--count <n>', 'how many devices may use it', '1')
      .option('--lifetime <time>', 'how long it works: 90m, 24h, 7d', '24h')
      .option('--device <id>', 'only for this device (repeatable)', gather, [])
      .option('--by-hand', 'every device waits for `wardcast enrol approve`')
      .option('--gateway <file>', "for a site's administrator, on the gateway: its gateway.toml, in place of an ops certificate"),
  );
  withConnection(
    leaf(enrol, 'tokens', 'the codes made so far, without the codes', async (call) => {
      const customer = call.options.text('customer');
      const rows = await withOps(call, (ops) => ops.call('enrol.tokens', customer === undefined ? {} : { customer }));
      call.output.result(rows, () =>
        call.output.table(
          rows,
          [
            { title: 'TOKEN', value: (row) => `${row.token}-…` },
            { title: 'CUSTOMER', value: (row) => row.customer },
            { title: 'SITE', value: (row) => row.site },
            { title: 'GROUP', value: (row) => row.group },
            { title: 'USED', value: (row) => `${row.used}/${row.count}` },
            { title: 'EXPIRES', value: (row) => (row.revoked ? 'revoked' : row.expires) },
            { title: 'BY HAND', value: (row) => (row.byHand ? 'yes' : '') },
            { title: 'DEVICES', value: (row) => row.devices.join(' ') },
          ],
          'no codes',
        ),
      );
      return undefined;
    }).option('--customer <customer>', 'only of this customer'),
  );
  withConnection(
    leaf(enrol, 'revoke <token>', 'the code (its first four characters) enrols nobody any more', async (call) => {
      const token = argument(call, 0, 'the token').slice(0, 4).toUpperCase();
      const done = await withOps(call, (ops) => ops.call('enrol.revoke', { token }));
      call.output.result({ token, ...done }, () => call.output.line(`token ${token} revoked`));
      return undefined;
    }),
  );
  withConnection(
    leaf(enrol, 'list', 'devices that wait for approval', async (call) => {
      const customer = call.options.text('customer');
      const rows = await withOps(call, (ops) => ops.call('enrol.list', customer === undefined ? {} : { customer }));
      call.output.result(rows, () =>
        call.output.table(
          rows,
          [
            { title: 'CUSTOMER', value: (row) => row.customer },
            { title: 'SITE', value: (row) => row.site },
            { title: 'GROUP', value: (row) => row.group },
            { title: 'DEVICE', value: (row) => row.device },
            { title: 'KEY', value: (row) => row.key.slice(0, 16) },
            { title: 'WITH', value: (row) => `${row.by} ${row.name}` },
            { title: 'SINCE', value: (row) => row.since },
          ],
          'nobody waits',
        ),
      );
      return undefined;
    }).option('--customer <customer>', 'only of this customer'),
  );
  for (const [verb, approved, past] of [
    ['approve', true, 'approved'],
    ['reject', false, 'rejected'],
  ] as const) {
    withConnection(
      leaf(enrol, `${verb} <customer> <device>`, approved ? 'the device gets its certificate when it asks again' : 'the device gets none', async (call) => {
        const about = named(call);
        const key = call.options.text('key');
        const done = await withOps(call, (ops) => ops.call('enrol.decide', { ...about, approved, ...(key === undefined ? {} : { key }) }));
        call.output.result({ ...about, ...done }, () => call.output.line(`${about.customer}/${about.device} with key ${done.key.slice(0, 16)} ${past}`));
        return undefined;
      }).option('--key <hex>', 'beginning of the key, where several wait under one id'),
    );
  }
  withConnection(
    leaf(enrol, 'release <customer> <device>', 'the device was repaired or wiped: its id may enrol once more, with another key', async (call) => {
      const about = named(call);
      const done = await withOps(call, (ops) => ops.call('enrol.release', about));
      call.output.result({ ...about, ...done }, () => call.output.line(`${about.customer}/${about.device} may enrol with another key`));
      return undefined;
    }),
  );
  withConnection(
    leaf(enrol, 'dismiss <customer> <device>', 'the alarms about a device were looked into', async (call) => {
      const about = named(call);
      const { dismissed } = await withOps(call, (ops) => ops.call('alarm.dismiss', about));
      call.output.result({ ...about, dismissed }, () => call.output.line(`${dismissed} dismissed`));
      return undefined;
    }),
  );
}

async function makeToken(call: Call): Promise<undefined> {
  const { makeCode, printCode, verifierOf } = await import('../../shared/wire/enrol-code.ts');
  const { options, output } = call;
  const terms = {
    group: id(options.needed('group', '--group'), 'group'),
    count: options.number('count', '--count') ?? 1,
    lifetime: seconds(options.text('lifetime') ?? '24h'),
    devices: options.texts('device').map((device) => id(device, 'device')),
    byHand: options.flag('byHand'),
  };
  const gateway = options.text('gateway');
  const give = gateway === undefined ? await byOps(call) : await atGateway(gateway, call);
  for (let attempt = 1; ; attempt++) {
    const code = makeCode();
    try {
      const made = await give({ ...terms, token: code.token, verifier: await verifierOf(code) });
      const text = printCode(code);
      const { renderUnicodeCompact } = await import('uqr');
      output.result({ code: text, ...terms, ...made }, () => {
        output.line(renderUnicodeCompact(text));
        output.line(`${text}   for ${terms.count} × ${made.customer}/${made.site}/${terms.group}, until ${made.expires}`);
        output.line('It is shown this once. On the device: wardcast agent enrol --config agent.toml');
      });
      return undefined;
    } catch (error) {
      // Four characters name a code: now and then they are taken.
      if (!isWardcastError(error, 'CONFLICT') || attempt >= 8) throw error;
    }
  }
}

type Give = (terms: {
  readonly token: string;
  readonly verifier: string;
  readonly group: string;
  readonly count: number;
  readonly lifetime: number;
  readonly devices: string[];
  readonly byHand: boolean;
}) => Promise<{ readonly customer: string; readonly site: string; readonly expires: string }>;

async function byOps(call: Call): Promise<Give> {
  const customer = id(call.options.needed('customer', '--customer'), 'customer');
  const site = id(call.options.needed('site', '--site'), 'site');
  return async (terms) => ({ customer, site, expires: (await withOps(call, (ops) => ops.call('enrol.token', { customer, site, ...terms }))).expires });
}

async function atGateway(file: string, call: Call): Promise<Give> {
  const { gatewayDesk } = await import('../gateway-desk.ts');
  return gatewayDesk(file, call.signal);
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

function seconds(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const found = Number(count) * (UNITS[unit] ?? Number.NaN);
  if (found >= 1 && found <= MAX_TOKEN_LIFETIME) return found;
  throw usage(`--lifetime takes a time up to ${MAX_TOKEN_LIFETIME / 86_400} days, like 90m, ${TOKEN_LIFETIME / 3600}h or 7d, not ${JSON.stringify(text)}`);
}

function named(call: Call): { customer: string; device: string } {
  return { customer: id(argument(call, 0, 'the customer'), 'customer'), device: id(argument(call, 1, 'the device'), 'device') };
}

function gather(value: string, before: string[]): string[] {
  return [...before, value];
}
