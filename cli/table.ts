/** Tables for people: no borders, columns two spaces apart, one row per line, so that grep, cut and awk work on them. */

export type Cell = string | number | null | undefined;

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => Cell;
  /** Numbers stand to the right. */
  readonly align?: 'left' | 'right';
  /** Colours the padded text; never changes its width. */
  readonly paint?: (text: string, row: Row) => string;
}

/** The lines of a table with its heading; what is absent is shown as `-`, so that every line has every column. */
export function tableLines<Row>(rows: readonly Row[], columns: readonly Column<Row>[], head: (text: string) => string = (text) => text): string[] {
  const texts = rows.map((row) => columns.map((column) => cellText(column.value(row))));
  const widths = columns.map((column, at) => texts.reduce((width, line) => Math.max(width, [...(line[at] ?? '')].length), column.title.length));
  const pad = (text: string, at: number): string => {
    const gap = ' '.repeat(Math.max(0, (widths[at] ?? 0) - [...text].length));
    return columns[at]?.align === 'right' ? gap + text : text + gap;
  };
  const heading = columns
    .map((column, at) => pad(column.title, at))
    .join('  ')
    .trimEnd();
  const body = rows.map((row, index) =>
    columns
      .map((column, at) => {
        const padded = pad(texts[index]?.[at] ?? '-', at);
        const last = at === columns.length - 1 && column.align !== 'right' ? padded.trimEnd() : padded;
        return column.paint === undefined ? last : column.paint(last, row);
      })
      .join('  '),
  );
  return [head(heading), ...body];
}

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined || cell === '') return '-';
  return typeof cell === 'number' ? String(cell) : printable(cell);
}

/** Text from elsewhere, made safe for a terminal: control characters and line breaks become spaces. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is replaced here.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+/g, ' ');
}
