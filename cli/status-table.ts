import type { OpsResult } from '../shared/wire/ops.ts';
import type { Output } from './output.ts';
import type { Column } from './table.ts';
import { bytesText, shares, timesText } from './units.ts';

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

/** What cannot be right, and what to do about it. */
export function printAlarms(output: Output, rows: Status['alarms']): void {
  if (rows.length === 0) return;
  output.line();
  output.table(rows, [
    { title: 'ALARM', value: (row) => row.type, paint: (text) => output.colors.red(text) },
    { title: 'CUSTOMER', value: (row) => row.customer },
    { title: 'SITE', value: (row) => row.site },
    { title: 'WHO', value: (row) => row.device },
    { title: 'TIMES', value: (row) => row.count, align: 'right' },
    { title: 'LAST', value: (row) => row.last },
    { title: 'WHAT', value: (row) => row.message },
  ]);
  if (rows.some((row) => row.type === 'enrolment-duplicate'))
    output.line(
      'enrolment-duplicate: find the device that asked. A wiped one: `wardcast enrol release`; a wrong id: correct it there; then `wardcast enrol dismiss`.',
    );
  if (rows.some((row) => row.type === 'clone-suspected'))
    output.line(
      'clone-suspected: two machines hold one key. Find both, take the wrong one off the network, remove and enrol the right one anew, then `wardcast enrol dismiss`.',
    );
  if (rows.some((row) => row.type === 'log-contradicted'))
    output.line(
      'log-contradicted: somebody rewrote the log of this provider, or put an old backup in its place: `wardcast audit verify` with the head that the gateway set aside; then `wardcast enrol dismiss CUSTOMER GATEWAY`.',
    );
}

/** Nothing is decided by these clocks; logs and other software of the machine go by them. */
export function printClocks(output: Output, rows: Status['clocks']): void {
  if (rows.length === 0) return;
  output.line();
  output.table(rows, [
    { title: 'WRONG CLOCK', value: (row) => row.device ?? '(gateway)', paint: (text) => output.colors.yellow(text) },
    { title: 'CUSTOMER', value: (row) => row.customer },
    { title: 'SITE', value: (row) => row.site },
    { title: 'GROUP', value: (row) => row.group },
    { title: 'SECONDS OFF', value: (row) => (row.seconds > 0 ? `+${row.seconds}` : String(row.seconds)), align: 'right' },
  ]);
}

/** Where the bytes of each site's newest bundles came from. LINE and SENT are the gateway's word, the others the devices' signed one. */
export function printBundles(output: Output, rows: readonly Status['bundles'][number][]): void {
  output.table(rows, [
    { title: 'CUSTOMER', value: (row) => row.customer },
    { title: 'SITE', value: (row) => row.site },
    { title: 'GROUP', value: (row) => row.group },
    { title: 'BUNDLE', value: (row) => row.sequence, align: 'right' },
    { title: 'LINE', value: (row) => (row.line === null ? null : bytesText(row.line)), align: 'right' },
    { title: 'SENT', value: (row) => (row.sent === null ? null : bytesText(row.sent)), align: 'right' },
    { title: 'COPIES', value: (row) => (row.copies === null ? null : timesText(row.copies)), align: 'right' },
    ...hadColumns<Status['bundles'][number]>(),
  ]);
}

interface Had {
  readonly gateway: number;
  readonly peer: number;
  readonly own: number;
  readonly patch: number;
}

/** Bytes from gateway, peers, own old files, and what patches made beyond their own bytes, each with its share. */
export function hadColumns<Row extends Had>(): Column<Row>[] {
  const cell = (row: Row, which: 0 | 1 | 2 | 3): string => {
    const parts = [row.gateway, row.peer, row.own, row.patch];
    const part = parts[which] ?? 0;
    return part === 0 ? '0 B' : `${bytesText(part)} ${String(shares(parts)[which] ?? 0).padStart(3)} %`;
  };
  return [
    { title: 'GATEWAY', value: (row) => cell(row, 0), align: 'right' },
    { title: 'PEERS', value: (row) => cell(row, 1), align: 'right' },
    { title: 'OWN FILES', value: (row) => cell(row, 2), align: 'right' },
    { title: 'PATCHES', value: (row) => cell(row, 3), align: 'right' },
  ];
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
