import type { Command } from 'commander';
import { argument, id, leaf, releaseName } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';

export function declare(parent: Command, description: string): void {
  withConnection(
    leaf(parent, 'trace <application@version>', description, async (call) => {
      const { output } = call;
      const release = releaseName(argument(call, 0, 'the release'));
      const device = call.options.text('device');
      const customer = call.options.text('customer');
      const trace = await withOps(call, (ops) =>
        ops.call('trace', {
          ...release,
          ...(device === undefined ? {} : { device: id(device, 'device') }),
          ...(customer === undefined ? {} : { customer: id(customer, 'customer') }),
        }),
      );
      output.result(trace, () => {
        if (trace.release !== null) {
          const withdrawn = trace.release.withdrawn;
          output.line(`${trace.release.application} ${trace.release.version}  manifest ${trace.release.manifest}`);
          output.line(`published ${trace.release.publishedAt}${withdrawn === null ? '' : `, withdrawn ${withdrawn.at}: ${withdrawn.reason}`}`);
          output.line();
        }
        output.table(
          trace.entries,
          [
            { title: 'ENTRY', value: (row) => row.sequence, align: 'right' },
            { title: 'AT', value: (row) => row.at },
            { title: 'BY', value: (row) => row.actor },
            { title: 'WHAT', value: (row) => row.change.type },
            { title: 'DETAILS', value: (row) => details(row.change) },
            { title: 'HASH', value: (row) => row.hash.slice(0, 12) },
          ],
          'nothing is recorded about it',
        );
      });
      return undefined;
    })
      .option('--device <device>', 'only what concerns this device')
      .option('--customer <customer>', 'only what concerns this customer'),
  );
}

const LONG = 40;

/** A change's plain fields as `key=value`; what is long (hashes, signatures, metadata) is left to --json. */
export function details(change: Readonly<Record<string, unknown>>): string {
  return Object.entries(change)
    .flatMap(([key, value]): [string, unknown][] =>
      typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [[key, value]],
    )
    .filter(([key, value]) => key !== 'type' && (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'))
    .filter(([, value]) => String(value).length <= LONG && value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}
