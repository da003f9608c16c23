import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tableLines } from '../../cli/table.ts';

const columns = [
  { title: 'NAME', value: (row: { name: string; size: number | null }) => row.name },
  { title: 'SIZE', value: (row: { name: string; size: number | null }) => row.size, align: 'right' },
] as const;

describe('a table', () => {
  it('aligns columns two spaces apart, numbers to the right, and shows what is absent as a dash', () => {
    expect(
      tableLines(
        [
          { name: 'viewer', size: 7 },
          { name: 'x', size: null },
        ],
        columns,
      ),
    ).toEqual(['NAME    SIZE', 'viewer     7', 'x          -']);
  });

  it('is one line per row whatever the texts are, so that nothing from a device can forge a line or move the cursor', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (names) => {
        const lines = tableLines(
          names.map((name) => ({ name, size: 1 })),
          columns,
        );
        expect(lines).toHaveLength(names.length + 1);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: the very thing that must not appear.
        for (const line of lines) expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
      }),
    );
  });
});
