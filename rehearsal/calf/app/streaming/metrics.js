// SPDX-License-Identifier: GPL-3.0-or-later

import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';

export const createMetrics = (database) => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name, help, options = {}) => new Gauge({ name, help, registers: [registry], ...options });
  const counter = (name, help, labelNames = []) => new Counter({ name, help, labelNames, registers: [registry] });
  const poolGauge = (name, help, read) => gauge(name, help, { collect() { this.set(read()); } });

  poolGauge('pg_pool_total_connections', 'Connections of the pool', () => database.totalCount);
  poolGauge('pg_pool_idle_connections', 'Connections of the pool that are idle', () => database.idleCount);
  poolGauge('pg_pool_waiting_queries', 'Queries that wait for a connection', () => database.waitingCount);

  const connectedClients = gauge('connected_clients', 'Connected clients', { labelNames: ['type'] });
  ['websocket', 'eventsource'].forEach((type) => connectedClients.set({ type }, 0));
  const connectedChannels = gauge('connected_channels', 'Channels listened to', { labelNames: ['type', 'channel'] });

  return {
    registry,
    connectedClients,
    connectedChannels,
    redisSubscriptions: gauge('redis_subscriptions', 'Channels subscribed to in Redis'),
    redisMessages: counter('redis_messages_received_total', 'Messages received from Redis'),
    messagesSent: counter('messages_sent_total', 'Messages sent to clients', ['type']),
  };
};
