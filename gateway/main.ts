import { systemClock } from '../shared/base/clock.ts';
import { runDaemon } from '../shared/base/daemon.ts';
import { GatewayConfig } from './config.ts';
import { startGateway } from './gateway.ts';

await runDaemon('gateway', GatewayConfig, ({ config, version, log }) => startGateway({ config, version, clock: systemClock, log }));
