import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkPath, collisionKey } from '../../../shared/bundle/path.ts';

describe('paths of a release', () => {
  it.each(['a', 'a/b.txt', '.hidden', 'a/..b', 'node_modules/@scope/pkg/index.js', 'ünïcode/日本語', 'with space/x', 'com10', 'console', 'a'.repeat(255)])(
    'takes %j',
    (path) => expect(() => checkPath(path)).not.toThrow(),
  );

  it.each([
    ['..', 'climbs'],
    ['a/../b', 'climbs'],
    ['a/..', 'climbs'],
    ['.', '"." segment'],
    ['a/./b', '"." segment'],
    ['/etc/passwd', 'absolute'],
    ['//server/share', 'absolute'],
    ['a//b', 'empty segment'],
    ['a/', 'empty segment'],
    ['', 'empty'],
    ['a\0b', 'NUL'],
    ['a\\b', 'backslash'],
    ['..\\..\\x', 'backslash'],
    ['a\nb', 'control character'],
    ['a\u0085b', 'control character'],
    ['a\u2028b', 'control character'],
    ['C:x', 'special'],
    ['file.txt:stream', 'special'],
    ['what?', 'special'],
    ['con', 'device name'],
    ['a/NUL.txt', 'device name'],
    ['COM1', 'device name'],
    ['lpt¹.log', 'device name'],
    ['aux .txt', 'device name'],
    ['trailing./x', 'dot or a space'],
    ['trailing ', 'dot or a space'],
    ['...', 'dot or a space'],
    ['e\u0301', 'normal form C'],
    ['\ud800', 'well-formed'],
    ['x'.repeat(256), 'longer than 255'],
    ['é'.repeat(128), 'longer than 255'],
    [`${'d/'.repeat(600)}x`, 'longer than 1024'],
  ])('refuses %j by name', (path, why) => {
    expect(() => checkPath(path)).toThrow(expect.objectContaining({ code: 'PATH_UNSAFE', message: expect.stringContaining(why) }));
  });

  it('takes nothing that leaves a directory when it is joined to it', () => {
    const piece = fc.constantFrom('..', '.', '', 'a', 'b c', '\\', '/', '\0', 'é', 'C:', '...');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), fc.constantFrom('/', '', '\\'), (pieces, glue) => {
        const path = pieces.join(glue);
        let accepted = true;
        try {
          checkPath(path);
        } catch {
          accepted = false;
        }
        if (accepted) expect(new URL(`file:///root/${path.split('/').map(encodeURIComponent).join('/')}`).pathname.startsWith('/root/')).toBe(true);
        if (accepted) expect(path.split('/').includes('..')).toBe(false);
      }),
    );
  });

  it.each([
    ['README', 'readme'],
    ['straße', 'STRASSE'],
    ['\u00e9', 'e\u0301'],
    ['K', '\u212a'],
    ['σ', 'ς'],
    ['x', 'x\u200d'],
    ['.git', '.g\u200cit'],
  ])('sees that %j and %j collide', (a, b) => expect(collisionKey(a)).toBe(collisionKey(b)));

  it('keeps different names apart', () => expect(collisionKey('a-b')).not.toBe(collisionKey('ab')));
});
