import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    // graphql has an ESM and a CommonJS entry; Vite picks one and Node the other, and two copies refuse each other's schemas.
    alias: [{ find: /^graphql$/, replacement: "graphql/index.js" }],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
