import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_FILES, MAX_MANIFEST } from '../../../shared/base/limits.ts';
import { canonicalJson } from '../../../shared/bundle/canonical.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { chunkSizes, type FileEntry, type Manifest, parseManifest, printManifest } from '../../../shared/bundle/manifest.ts';

function file(path: string, content = path, mode: 0o644 | 0o755 = 0o644): FileEntry {
  const bytes = Buffer.from(content);
  return { path, size: bytes.length, mode, sha256: sha256(bytes), chunks: bytes.length === 0 ? [] : [{ hash: sha256(bytes), size: bytes.length }] };
}

function manifest(change: Partial<Manifest> = {}): Manifest {
  const files = change.files ?? [file('bin/check', 'check', 0o755), file('lib/a.js'), file('lib/empty', '')];
  return {
    format: 1,
    application: 'viewer',
    version: '1.2.3',
    hooks: {},
    links: [],
    ...change,
    files,
    size: change.size ?? files.reduce((n, f) => n + f.size, 0),
  };
}

function parse(value: unknown): Manifest {
  return parseManifest(canonicalJson(JSON.parse(JSON.stringify(value))));
}

const KEY = sha256(Buffer.from('a content key'));
/** A release of one file with these things said about the wire form of its chunk. */
const packed = (form: object): Partial<Manifest> => {
  const chunk = { hash: sha256(Buffer.from('wire')), size: 6, ...('plain' in form || 'wire' in form ? {} : { hash: sha256(Buffer.from('packed')) }), ...form };
  return { files: [{ ...file('a', 'packed'), chunks: [chunk] }] };
};
const secret = (form: object): Partial<Manifest> => ({
  ...packed({ wire: 34, plain: sha256(Buffer.from('packed')), key: 0, ...form }),
  encryption: { keys: [KEY] },
});

const code = (name: string, why = ''): unknown => expect.objectContaining({ code: name, message: expect.stringContaining(why) });

const name = fc.stringMatching(/^[a-z0-9]{1,8}$/).filter((n) => !/^(con|prn|aux|nul|com\d|lpt\d)$/.test(n));
const anyManifest = fc
  .record({
    paths: fc.uniqueArray(fc.tuple(name, name, fc.boolean()), { selector: ([a, b]) => `${a}/${b}`, maxLength: 12 }),
    version: fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((v) => v.join('.')),
    sbom: fc.boolean(),
    hook: fc.boolean(),
  })
  .map(({ paths, version, sbom, hook }) => {
    const files = paths
      .map(([a, b, executable]) => file(`d${a}/${b}`, `${a}${b}`.repeat(3), executable ? 0o755 : 0o644))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
    const executable = files.find(({ mode }) => mode === 0o755);
    const [first] = files;
    return manifest({
      version,
      files,
      ...(sbom ? { sbom: { url: 'https://vendor.example/sbom.json', sha256: sha256(Buffer.from('s')) } } : {}),
      hooks: hook && executable !== undefined ? { check: { path: executable.path, timeoutMs: 500 } } : {},
      links: first === undefined ? [] : [{ path: 'link', link: first.path }],
    });
  });

describe('release manifests', () => {
  it('survive printing and parsing: parse(print(m)) = m and print(parse(b)) = b', () => {
    fc.assert(
      fc.property(anyManifest, (sample) => {
        const bytes = printManifest(sample);
        expect(parseManifest(bytes)).toEqual(sample);
        expect(printManifest(parseManifest(bytes)).equals(bytes)).toBe(true);
      }),
    );
  });

  it('have one form: any other bytes for the same manifest are refused', () => {
    const bytes = printManifest(manifest());
    const text = bytes.toString();
    for (const other of [` ${text}`, `${text}\n`, text.replace('{', '{ '), text.replace('"format":1', '"format":1.0'), `\ufeff${text}`]) {
      expect(() => parseManifest(Buffer.from(other)), other.slice(0, 40)).toThrow(code('MANIFEST_INVALID'));
    }
    expect(() => parseManifest(Buffer.from(text.replace('"application":"viewer"', '"application":"x","application":"viewer"')))).toThrow(
      code('MANIFEST_INVALID'),
    );
    const sample = manifest();
    expect(() => parse({ ...sample, files: [...sample.files].reverse() })).toThrow(code('MANIFEST_INVALID', 'canonical'));
    expect(parseManifest(printManifest({ ...sample, files: [...sample.files].reverse() }))).toEqual(sample);
  });

  it('never parse to something else after one changed byte', () => {
    const bytes = printManifest(manifest({ links: [{ path: 'current', link: 'lib/a.js' }] }));
    const hash = sha256(bytes);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ flip;
        expect(sha256(changed)).not.toBe(hash);
        try {
          expect(printManifest(parseManifest(changed)).equals(changed)).toBe(true);
        } catch (error) {
          expect(error).toHaveProperty('code');
        }
      }),
      { numRuns: 300 },
    );
  });

  it('count every chunk once', () => {
    expect([...chunkSizes(manifest({ files: [file('a', 'same'), file('b', 'same'), file('c', 'other')] })).values()]).toEqual([4, 5]);
  });

  describe('refuse hostile content by name', () => {
    it.each([
      ['a ".." path', { files: [file('../evil')] }, 'PATH_UNSAFE', '..'],
      ['an absolute path', { files: [file('/etc/passwd')] }, 'PATH_UNSAFE', 'absolute'],
      ['a NUL', { files: [{ ...file('x'), path: 'a\u0000b' }] }, 'PATH_UNSAFE', 'NUL'],
      ['a backslash', { files: [file('a\\b')] }, 'PATH_UNSAFE', 'backslash'],
      ['the same path twice', { files: [file('a'), file('a')] }, 'PATH_COLLISION', 'twice'],
      ['paths that differ in case', { files: [file('README'), file('readme')] }, 'PATH_COLLISION', 'one path'],
      ['directories that differ in case', { files: [file('Lib/x'), file('lib/y')] }, 'PATH_COLLISION', 'one path'],
      ['paths that differ in invisible characters', { files: [file('a'), file('a\u200d')] }, 'PATH_COLLISION', 'one path'],
      ['a decomposed path', { files: [file('e\u0301')] }, 'PATH_UNSAFE', 'normal form'],
      ['a file that is also a directory', { files: [file('a'), file('a/b')] }, 'PATH_COLLISION', 'both'],
      ['a path that is too long', { files: [file(`${'d/'.repeat(600)}x`)] }, 'PATH_UNSAFE', 'longer'],
      ['a wire form without the hash of its content', packed({ wire: 3 }), 'MANIFEST_INVALID', 'come together'],
      ['a wire form larger than the content', packed({ wire: 7, plain: sha256(Buffer.from('packed')) }), 'MANIFEST_INVALID', '7 bytes of it hold 6'],
      ['a wire form of another content than the file', packed({ wire: 3, plain: sha256(Buffer.from('other')) }), 'MANIFEST_INVALID', 'its only chunk'],
      ['an encrypted chunk in a clear release', packed({ wire: 34, plain: sha256(Buffer.from('packed')), key: 0 }), 'MANIFEST_INVALID', 'not encrypted'],
      ['a clear chunk in an encrypted release', { ...packed({}), encryption: { keys: [KEY] } }, 'MANIFEST_INVALID', 'is encrypted and it is not'],
      ['an encrypted chunk without its seal', secret({ wire: 28 }), 'MANIFEST_INVALID', '28 bytes of it hold 6'],
      ['a key that is not listed', secret({ key: 1 }), 'MANIFEST_INVALID', 'no content key 1'],
      ['a key that no chunk needs', { ...secret({}), encryption: { keys: [KEY, sha256(Buffer.from('k2'))] } }, 'MANIFEST_INVALID', 'content key 1'],
      ['a key listed twice', { ...secret({}), encryption: { keys: [KEY, KEY] } }, 'MANIFEST_INVALID', 'twice'],
      ['chunks that do not add up', { files: [{ ...file('a'), size: 7 }] }, 'MANIFEST_INVALID', 'add up'],
      ['files that do not add up', { size: 1 }, 'MANIFEST_INVALID', 'add up'],
      ['a hash that is not its only chunk', { files: [{ ...file('a'), sha256: sha256(Buffer.from('b')) }] }, 'MANIFEST_INVALID', 'only chunk'],
      ['an empty file with a hash of something', { files: [{ ...file('a', ''), sha256: sha256(Buffer.from('b')) }] }, 'MANIFEST_INVALID', 'only chunk'],
      [
        'one chunk with two sizes',
        { files: [file('a', 'x'), { ...file('b', 'xx'), chunks: [{ hash: sha256(Buffer.from('x')), size: 2 }] }] },
        'MANIFEST_INVALID',
        'bytes',
      ],
      ['a setuid mode', { files: [{ ...file('a'), mode: 0o4755 }] }, 'MANIFEST_INVALID', 'setuid'],
      ['a setgid mode', { files: [{ ...file('a'), mode: 0o2755 }] }, 'MANIFEST_INVALID', 'setgid'],
      ['a world-writable mode', { files: [{ ...file('a'), mode: 0o777 }] }, 'MANIFEST_INVALID', '777'],
      ['a chunk of no bytes', { files: [{ ...file('a'), chunks: [{ hash: sha256(Buffer.from('a')), size: 0 }] }] }, 'MANIFEST_INVALID', 'chunks'],
      ['a negative size', { files: [{ ...file('a'), size: -1 }] }, 'MANIFEST_INVALID', 'size'],
      ['a fraction', { files: [{ ...file('a'), size: 0.5 }] }, 'MANIFEST_INVALID', ''],
      ['a version that is none', { version: 'latest' }, 'MANIFEST_INVALID', 'version'],
      ['a version with build metadata', { version: '1.0.0+b1' }, 'MANIFEST_INVALID', 'version'],
      ['an application that is no id', { application: '../x' }, 'MANIFEST_INVALID', 'application'],
      ['an unknown key', { extra: 1 }, 'MANIFEST_INVALID', 'extra'],
      ['an unknown format', { format: 2 }, 'MANIFEST_INVALID', 'format'],
      ['a hook that is no file', { hooks: { check: { path: 'nowhere' } } }, 'MANIFEST_INVALID', 'check'],
      ['a hook that is not executable', { hooks: { check: { path: 'lib/a.js' } } }, 'MANIFEST_INVALID', 'executable'],
      ['a hook without end', { hooks: { check: { path: 'bin/check', timeoutMs: 1e12 } } }, 'MANIFEST_INVALID', 'timeoutMs'],
      ['an SBOM that leads nowhere', { sbom: { sha256: sha256(Buffer.from('s')) } }, 'MANIFEST_INVALID', 'SBOM'],
      ['an SBOM over http', { sbom: { url: 'http://x.example/', sha256: sha256(Buffer.from('s')) } }, 'MANIFEST_INVALID', 'sbom'],
      ['an SBOM file that is not listed', { sbom: { path: 'sbom.json', sha256: sha256(Buffer.from('s')) } }, 'MANIFEST_INVALID', 'SBOM'],
    ])('%s', (_, change, expected, why) => {
      const value = { ...manifest(), ...change };
      if ('files' in change) value.size = value.files.reduce((n, f) => n + f.size, 0);
      const bytes = JSON.stringify(value);
      expect(() => parseManifest(Buffer.from(bytes))).toThrow(code(expected, why));
    });

    it.each([
      ['out of the tree', 'l', '../x', 'out of the release'],
      ['out of the tree by detour', 'd/l', '../../x', 'out of the release'],
      ['by an absolute target', 'l', '/etc/passwd', 'absolute'],
      ['to nothing', 'l', 'missing', 'no file or directory'],
      ['to itself', 'l', 'l', 'itself a symlink'],
      ['to another link', 'l', 'm', 'itself a symlink'],
      ['through another link', 'l', 'm/a.js', 'no file or directory'],
      ['to a directory above itself', 'lib/l', '../lib', 'above itself'],
      ['to the root', 'lib/l', '..', 'above itself'],
      ['with a backslash', 'l', 'lib\\a.js', 'no safe path'],
      ['with an empty name', 'l', 'lib//a.js', 'no safe path'],
      ['with nothing', 'l', '', 'above itself'],
      ['down and up again', 'l', 'lib/../lib/a.js', 'may lead elsewhere'],
    ])('a symlink %s', (_, path, link, why) => {
      const links =
        path === 'l' && link.startsWith('m')
          ? [
              { path, link },
              { path: 'm', link: 'lib' },
            ]
          : [{ path, link }];
      expect(() => parse(manifest({ links }))).toThrow(code('PATH_UNSAFE', why));
    });

    it('a file below a symlink', () => {
      expect(() => parse(manifest({ links: [{ path: 'd', link: 'lib' }], files: [file('d/x'), file('lib/a')] }))).toThrow(code('PATH_COLLISION', 'both'));
    });

    it('too many bytes, before parsing', () => {
      expect(() => parseManifest(Buffer.alloc(MAX_MANIFEST + 1, '['))).toThrow(code('LIMIT_EXCEEDED'));
    });

    it('too many files, before their shapes are looked at', () => {
      expect(() => parseManifest(Buffer.from(JSON.stringify({ files: Array.from({ length: MAX_FILES + 1 }, () => 0) })))).toThrow(code('LIMIT_EXCEEDED'));
    });

    it.each(['', '[]', 'null', '"x"', '{}', '[[[[', '{"files":{}}', '{"__proto__":{"format":1}}'])('the bytes %j', (text) => {
      expect(() => parseManifest(Buffer.from(text))).toThrow(code('MANIFEST_INVALID'));
    });

    it('bytes that are no UTF-8', () => expect(() => parseManifest(Buffer.from([0x22, 0xff, 0x22]))).toThrow(code('MANIFEST_INVALID', 'UTF-8')));
  });

  it('take symlinks that stay inside', () => {
    const sample = manifest({
      links: [
        { path: 'bin/lib', link: '../lib' },
        { path: 'main.js', link: 'lib/a.js' },
      ],
    });
    expect(parse(sample)).toEqual(sample);
  });

  it('are not printed when they could not be parsed', () => {
    expect(() => printManifest(manifest({ files: [file('../x')] }))).toThrow(code('PATH_UNSAFE'));
  });
});
