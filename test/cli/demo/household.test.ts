import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { Household } from '../../../cli/demo/household.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const forever = new AbortController().signal;

it('tells what a daemon said when it ends before it is ready, and keeps its log', async () => {
  const folder = await temporaryDirectory();
  const config = path.join(folder, 'agent.toml');
  await writeFile(config, 'dta = "x"\n');
  const household = new Household(folder);
  const agent = household.add('agent aster/north/ct-1', 'agent', config);
  await expect(agent.start(forever)).rejects.toThrow(/ended before it was ready.*CONFIG_INVALID/);
  expect(await readFile(path.join(folder, 'agent-aster-north-ct-1.log'), 'utf8')).toContain('CONFIG_INVALID');
  await household.end();
});

it('starts nobody any more once it was ended or interrupted', async () => {
  const household = new Household(await temporaryDirectory());
  const agent = household.add('agent', 'agent', '/nonexistent');
  await expect(agent.start(AbortSignal.abort(new Error('Ctrl-C')))).rejects.toThrow('Ctrl-C');
  await household.end();
  await expect(agent.start(forever)).rejects.toMatchObject({ code: 'ABORTED' });
});
