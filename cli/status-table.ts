import type { OpsResult } from '../shared/wire/ops.ts';
import type { Output } from './output.ts';

type Status = OpsResult<'status'>;
export type StatusRow = Status['devices'][number];

/** The database as the patent has it: current version and customer version side by side, one line per device and application. */
export function printStatus(output: Output, rows: readonly StatusRow[]): void {
  output.table(
    rows,
    [
      { title: 'CUSTOMER', value: (row) => row.customer },
      { title: 'SITE', value: (row) => row.site },
      { title: 'GROUP', value: (row) => row.group },
      { title: 'DEVICE', value: (row) => row.device },
      { title: 'APPLICATION', value: (row) => row.application },
      { title: 'CURRENT', value: (row) => row.currentVersion },
      { title: 'ON DEVICE', value: (row) => row.customerVersion },
      { title: 'STATE', value: (row) => row.state, paint: (text, row) => paintState(output, text, row.state) },
      { title: 'REASON', value: (row) => row.reason },
    ],
    'no devices',
  );
}

function paintState(output: Output, text: string, state: StatusRow['state']): string {
  switch (state) {
    case 'up-to-date':
      return output.colors.green(text);
    case 'failed':
    case 'withdrawn':
      return output.colors.red(text);
    case 'due':
    case 'unknown':
      return output.colors.yellow(text);
    case 'unmanaged':
      return output.colors.dim(text);
  }
}
