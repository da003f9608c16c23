import fc from 'fast-check';
import { identityPath } from '../../../shared/base/identity.ts';
import { DOWN_VERBS, ROOT, UP_VERBS } from '../../../shared/wire/topics.ts';
import { DEVICE, DEVICE_B, GATEWAY, OPS } from '../../support/bad-certificates.ts';

/** Topics and filters: whose they should not be, deep, with wildcards in every place, with characters that do not belong there. */

const level = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('+', '#', '', '..', '$SYS', '$share', 'g', '\0', '\u0007', '\u2028', '\ufeff', 'é', '+x', 'x#', 'a'.repeat(300)) },
  {
    weight: 4,
    arbitrary: fc.constantFrom('wardcast', '1', 'customer', 'acme', 'site', 'north', 'group', 'ct', 'pumps', 'device', 'gateway', 'ops', 'announce', 'event'),
  },
  { weight: 2, arbitrary: fc.constantFrom('up', 'down', ...UP_VERBS, ...DOWN_VERBS) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
);
const owned = [DEVICE, DEVICE_B, GATEWAY, OPS].flatMap((identity) => [
  ...UP_VERBS.map((verb) => `${ROOT}/${identityPath(identity)}/up/${verb}`),
  ...DOWN_VERBS.map((verb) => `${ROOT}/${identityPath(identity)}/down/${verb}`),
  `${ROOT}/${identityPath(identity)}/down/#`,
]);

export const topicText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.array(level, { minLength: 1, maxLength: 14 }).map((levels) => levels.join('/')) },
  { weight: 3, arbitrary: fc.constantFrom(...owned) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom(...owned), fc.nat(12), level).map(([topic, at, other]) =>
      topic
        .split('/')
        .with(Math.min(at, topic.split('/').length - 1), other)
        .join('/'),
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom('#', '+/#', '$SYS/#', `${'+/'.repeat(400)}#`, '/'.repeat(5000), `${ROOT}/#`, `$share/x/${ROOT}/#`, '$SYS/consumed') },
);
