import { hash } from 'node:crypto';
import { utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { matchesPattern } from '../../../../shared/trust/path-pattern.ts';
import { TestClient, withServer } from './rig.ts';
import { type DelegationJson, inDays, Simulator } from './simulator.ts';

withServer();

type Edge = readonly [delegator: string, role: string, more?: Partial<DelegationJson>];

function graph(edges: readonly Edge[], targets: readonly (readonly [role: string, path: string])[] = []): Simulator {
  const repository = new Simulator();
  for (const [delegator, role, more] of edges) repository.delegate(delegator, role, more);
  for (const [role, path] of targets) repository.addTarget(role, path, Buffer.from(`${path} by ${role}`));
  repository.publishAll();
  return repository;
}

/** Delegated roles in the order in which they were asked for. */
function visited(repository: Simulator): string[] {
  return repository
    .asksFor('metadata')
    .slice(4)
    .map((name) => decodeURIComponent(name.replace(/^\d+\./, '').replace(/\.json$/, '')));
}

describe('5.6.7 search the delegations', () => {
  const only = { paths: ['*.py'] };
  const graphs: [string, Edge[], string[]][] = [
    ['one', [['targets', 'A']], ['A']],
    [
      'two in the order of their listing',
      [
        ['targets', 'B'],
        ['targets', 'A'],
      ],
      ['B', 'A'],
    ],
    [
      'depth before breadth',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['A', 'D'],
      ],
      ['A', 'C', 'D', 'B'],
    ],
    [
      'three levels deep',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['C', 'D'],
      ],
      ['A', 'C', 'D', 'B'],
    ],
    [
      '5.6.7.2.1 a terminating one ends the search',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C', { terminating: true }],
        ['A', 'D'],
      ],
      ['A', 'C'],
    ],
    [
      '5.6.7.2.1 but not below itself',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C', { terminating: true }],
        ['C', 'D'],
      ],
      ['A', 'C', 'D'],
    ],
    [
      'a terminating one for other paths ends nothing',
      [
        ['targets', 'A', { ...only, terminating: true }],
        ['targets', 'B'],
      ],
      ['B'],
    ],
    [
      'other paths are not followed',
      [
        ['targets', 'A', only],
        ['targets', 'B'],
        ['A', 'C'],
      ],
      ['B'],
    ],
    [
      '5.6.7.1 a circle is walked once',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['C', 'D'],
        ['D', 'B'],
      ],
      ['A', 'B', 'C', 'D'],
    ],
    [
      'a role with two delegators is visited once',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['A', 'C'],
      ],
      ['A', 'C', 'B'],
    ],
    [
      'a role is reached by whoever delegates the path',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['A', 'C', only],
      ],
      ['A', 'B', 'C'],
    ],
  ];
  it.each(graphs)('%s', async (_, edges, order) => {
    const repository = graph(edges);
    const client = await TestClient.create(repository);
    await client.refused(undefined, 'missing');
    expect(visited(repository)).toEqual(order);
  });

  const tree: Edge[] = [
    ['targets', 'A', { paths: ['*.doc', '*.md'] }],
    ['targets', 'B', { paths: ['releases/*/*'] }],
    ['B', 'C', { paths: ['releases/x/*'] }],
    ['B', 'D', { paths: ['releases/y/*.zip'] }],
  ];
  it.each([
    ['file', true, []],
    ['README.md', true, ['A']],
    ['releases/x/x_v1', true, ['B', 'C']],
    ['releases/y/y_v1.zip', true, ['B', 'D']],
    ['releases/z/z_v1.zip', false, ['B']],
  ])('5.6.7 %s is found: %s', async (path, found, order) => {
    const owners = [
      ['targets', 'file'],
      ['A', 'README.md'],
      ['C', 'releases/x/x_v1'],
      ['D', 'releases/y/y_v1.zip'],
      ['D', 'releases/z/z_v1.zip'],
    ] as const;
    const repository = graph(tree, owners);
    const client = await TestClient.create(repository);
    if (found) await client.download(path);
    else await client.refused(undefined, path);
    expect(client.downloaded).toHaveLength(found ? 1 : 0);
    expect(visited(repository)).toEqual(order);
  });

  it('4.5 path_hash_prefixes choose by the hash of the path', async () => {
    const prefix = hash('sha256', 'some/file').slice(0, 3);
    const repository = graph(
      [
        ['targets', 'other', { path_hash_prefixes: [prefix === 'fff' ? '000' : 'fff'] }],
        ['targets', 'mine', { path_hash_prefixes: [prefix] }],
      ],
      [['mine', 'some/file']],
    );
    const client = await TestClient.create(repository);
    await client.download('some/file');
    expect(visited(repository)).toEqual(['mine']);
  });

  it('4.5 a role with both paths and path_hash_prefixes is refused', async () => {
    const repository = graph([['targets', 'A', { paths: ['*'], path_hash_prefixes: ['0'] }]]);
    await (await TestClient.create(repository)).refused();
  });

  it('5.6.7.1 no more than 32 roles are searched for one target', async () => {
    const repository = graph(Array.from({ length: 40 }, (_, n): Edge => ['targets', `role${n}`]));
    await (await TestClient.create(repository)).refused(undefined, 'missing');
    expect(visited(repository)).toHaveLength(32);
  });

  it('5.6.3 a role that its delegator does not trust ends the search: no less trusted role answers in its place', async () => {
    const repository = graph(
      [
        ['targets', 'A'],
        ['targets', 'B'],
      ],
      [['B', 'file']],
    );
    repository.publish('A', undefined, repository.signers.get('B'));
    const client = await TestClient.create(repository);
    await client.refused('METADATA_UNTRUSTED', 'file');
    expect(client.downloaded).toEqual([]);
    expect(client.version('A')).toBeUndefined();
  });

  it('5.6.5 a role that was expired when first seen is not trusted', async () => {
    const repository = graph([['targets', 'A']], [['A', 'file']]);
    repository.any('A').expires = inDays(-1);
    repository.publish('A');
    const client = await TestClient.create(repository);
    await client.refused('METADATA_EXPIRED', 'file');
    expect(client.trusted).toEqual({ root: 1, timestamp: 2, snapshot: 2, targets: 2 });
  });

  it('4.5 a delegated role may not take the name of a top-level one', async () => {
    for (const name of ['root', 'timestamp', 'snapshot', 'targets']) {
      const repository = new Simulator();
      repository.targets.delegations = { keys: {}, roles: [{ name, keyids: [], threshold: 1, terminating: false, paths: ['*'] }] };
      repository.bump('targets');
      repository.updateSnapshot();
      await (await TestClient.create(repository)).refused();
    }
  });

  it.each(['?', '#', '/role', '../role', 'a b', 'ü', '%2e', '(role)!'])('a role named %j is asked for and kept under its encoded name', async (name) => {
    const repository = graph([['targets', name]], [[name, 'file']]);
    const client = await TestClient.create(repository);
    await client.download('file');
    expect(repository.asksFor('metadata').at(-1)).toBe(`1.${encodeURIComponent(name)}.json`);
    expect(Object.keys(client.trusted)).toHaveLength(5);
    await client.download('file');
    expect(repository.asksFor('metadata')).toEqual(['2.root.json', 'timestamp.json']);
  });

  it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])('a role named %j is refused, not passed over', async (name) => {
    const repository = graph(
      [
        ['targets', name],
        ['targets', 'B'],
      ],
      [['B', 'file']],
    );
    const client = await TestClient.create(repository);
    await client.refused('METADATA_INVALID', 'file');
    expect(client.downloaded).toEqual([]);
  });

  it.each(['constructor', '__proto__', 'toString'])('a target named %j is not found where none is listed', async (name) => {
    await (await TestClient.create(graph([['targets', 'A']]))).refused(undefined, name);
  });
});

describe('4.5 path patterns', () => {
  it.each([
    ['a/b', 'a/*', true],
    ['a/b/c', 'a/*', false],
    ['a', '*', true],
    ['a/b', '*', false],
    ['a/b', '**', false],
    ['.hidden', '*', true],
    ['foo.tgz', '*.tgz', true],
    ['foo.tgz', 'foo.t?z', true],
    ['foo.tz', 'foo.t?z', false],
    ['x', '!y', false],
    ['!y', '!y', true],
    ['#x', '#x', true],
    ['a', '{a,b}', false],
    ['a', '[ab]', false],
    ['a', '+(a)', false],
    ['[ab]', '[ab]', true],
    ['aXbXc', 'a*b*c', true],
    ['ü', '?', true],
    ['', '*', true],
    ['a', '', false],
  ])('%j against %j: %s', (path, pattern, matches) => {
    expect(matchesPattern(path, pattern)).toBe(matches);
  });

  it('are matched in a moment, however hostile', () => {
    expect(matchesPattern('a'.repeat(1000), `${'*a'.repeat(400)}b`)).toBe(false);
  });
});

describe('5.7 fetch the target', () => {
  const path = 'dir/file.txt';
  async function rig(algorithms = ['sha256']): Promise<{ repository: Simulator; client: TestClient; served: string }> {
    const repository = new Simulator();
    repository.addTarget('targets', path, Buffer.from('the file'), algorithms);
    repository.publishAll();
    const served = [...repository.files.keys()].find((name) => name.startsWith('targets/')) ?? '';
    return { repository, client: await TestClient.create(repository), served };
  }

  it.each([[['sha256']], [['sha512']], [['sha256', 'sha512']]])('with %j it is taken, and not fetched again while it is there', async (algorithms) => {
    const { repository, client } = await rig(algorithms);
    await client.download(path);
    expect(client.downloaded).toEqual(['the file']);
    expect(repository.asksFor('targets')).toHaveLength(1);
    await client.download(path);
    expect(repository.asksFor('targets')).toEqual([]);
  });

  it('5.7.3 longer, shorter or other content is refused and never stored', async () => {
    for (const content of ['the file and more', 'the', 'THE FILE', '']) {
      const { repository, client, served } = await rig();
      repository.files.set(served, Buffer.from(content));
      await client.refused(content.length > 8 ? 'LIMIT_EXCEEDED' : 'HASH_MISMATCH', path);
      expect(client.downloaded).toEqual([]);
    }
  });

  it('5.7.2 every listed hash must be right', async () => {
    const { repository, client } = await rig(['sha256', 'sha512']);
    const target = repository.targets.targets[path];
    if (target !== undefined) target.hashes['sha512'] = '0'.repeat(128);
    repository.publishAll();
    await client.refused('HASH_MISMATCH', path);
  });

  it.each([{}, { md5: '0' }, { nonsense: '0' }])('4.5 hashes %j prove nothing', async (hashes) => {
    const { repository, client } = await rig();
    const target = repository.targets.targets[path];
    if (target !== undefined) target.hashes = hashes;
    repository.publishAll();
    await client.refused('METADATA_INVALID', path);
  });

  it('a copy that was damaged on disk is fetched anew', async () => {
    const { repository, client } = await rig();
    const [file = ''] = await client.download(path);
    writeFileSync(file, 'the FILE');
    utimesSync(file, 0, 0);
    await client.download(path);
    expect(client.downloaded).toEqual(['the file']);
    expect(repository.asksFor('targets')).toHaveLength(1);
  });

  it('new content takes the old name, forged content does not', async () => {
    const { repository, client } = await rig();
    for (let round = 0; round < 4; round++) {
      repository.addTarget('targets', path, Buffer.from(`round ${round}`));
      repository.publishAll();
      await client.download(path);
      expect(client.downloaded).toEqual([`round ${round}`]);
      const target = repository.targets.targets[path];
      if (target !== undefined) target.hashes = { sha256: '0'.repeat(64) };
      repository.publishAll();
      await client.refused('METADATA_MISSING', path);
      expect(client.downloaded).toEqual([`round ${round}`]);
    }
  });

  it.each(['a'.repeat(400), '../../etc/passwd', '.hidden', 'a/../b', '%2e%2e/x', 'a//b', ' '])('no name leaves its folder: %j', async (name) => {
    const repository = new Simulator();
    repository.addTarget('targets', name, Buffer.from('x'));
    repository.publishAll();
    const client = await TestClient.create(repository);
    const files = await client.download(name).catch(() => []);
    for (const file of files) expect(file.startsWith(`${client.targetDirectory}/`)).toBe(true);
    expect(client.downloaded).toHaveLength(name.split('/').includes('..') ? 0 : 1);
  });

  it('several are fetched in one call, and one refusal is a refusal', async () => {
    const { repository, client } = await rig();
    repository.addTarget('targets', 'two', Buffer.from('2'));
    repository.publishAll();
    await client.download(path, 'two');
    expect(client.downloaded.sort()).toEqual(['2', 'the file']);
    await client.refused(undefined, path, 'three');
  });
});
