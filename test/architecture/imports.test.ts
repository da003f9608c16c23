import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, '../..');
const planted: string[] = [];

afterEach(async () => {
  for (const folder of planted.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** Cruises one planted file inside `folder` and returns the names of the rules it broke. */
async function rulesBrokenBy(folder: string, source: string): Promise<{ rules: string[]; modules: number }> {
  const nest = await mkdtemp(path.join(root, folder, 'planted-'));
  planted.push(nest);
  const file = path.join(nest, 'planted.ts');
  await writeFile(file, source);
  const cruise = run(process.execPath, ['node_modules/dependency-cruiser/bin/dependency-cruise.mjs', '--output-type', 'json', path.relative(root, file)], {
    cwd: root,
    maxBuffer: 1 << 28,
  });
  const { stdout } = await cruise.catch((error: { stdout: string }) => error);
  const report: { summary: { violations: { rule: { name: string }; from: string }[]; totalCruised: number } } = JSON.parse(stdout);
  const own = path.relative(root, file);
  return {
    rules: report.summary.violations.filter((violation) => violation.from === own).map((violation) => violation.rule.name),
    modules: report.summary.totalCruised,
  };
}

describe('import directions', () => {
  it.each([
    ['shared/base', "import '../../bundle/manifest.ts';", 'shared-base-imports-only-downwards'],
    ['shared/bundle', "import '../../wire/topics.ts';", 'shared-bundle-imports-only-downwards'],
    ['shared/wire', "import '../../net/broker.ts';", 'shared-wire-imports-only-downwards'],
    ['shared/store', "import '../../trust/keys.ts';", 'shared-store-imports-only-downwards'],
    ['shared/net', "import '../../../provider/plan.ts';", 'shared-net-imports-only-downwards'],
    ['certs', "import '../../shared/net/broker.ts';", 'certs-imports-only-downwards'],
    ['agent', "import '../../gateway/ledger.ts';", 'agent-knows-no-other-role'],
    ['gateway', "import '../../provider/plan.ts';", 'gateway-knows-no-other-role'],
    ['provider', "import '../../agent/accept/verify.ts';", 'provider-knows-no-other-role'],
    ['cli', "import '../../provider/main.ts';", 'nobody-imports-a-main'],
    ['agent', "import 'mqtt';", 'mqtt-and-mdns-only-in-net'],
    ['provider', "import 'aedes';", 'mqtt-and-mdns-only-in-net'],
    ['gateway', "import 'node-forge';", 'forge-only-in-certs'],
    ['shared/trust', "import 'node:https';", 'trust-and-formats-know-no-network'],
    ['shared/bundle', "import 'node:fs/promises';", 'formats-know-no-files'],
    ['gateway', "import './nowhere.ts';", 'no-unresolved'],
  ])('refuse in %s: %s', async (folder, source, rule) => {
    const { rules, modules } = await rulesBrokenBy(folder, `${source}\n`);
    expect(modules).toBeGreaterThan(1);
    expect(rules).toContain(rule);
  });

  it('allow a downward import', async () => {
    const { rules } = await rulesBrokenBy('gateway', "import '../../shared/base/errors.ts';\n");
    expect(rules).toEqual([]);
  });
});
