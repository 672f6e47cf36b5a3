# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "calf/packs"

namespace :assets do
  desc "Build public/packs and public/assets; needs node_modules, but no service"
  task precompile: :environment do
    sh "node", Rails.root.join("build.mjs").to_s, verbose: false
    page = ERB.new(Rails.root.join("app/frontend/500.html.erb").read).result_with_hash(style: Calf::Packs.path("application.css"))
    Rails.public_path.join("assets").mkpath
    Rails.public_path.join("assets/500.html").write(page)
  end

  desc "Remove what assets:precompile wrote"
  task :clobber do
    %w[packs assets].each { |name| FileUtils.rm_rf(Rails.public_path.join(name)) }
  end
end
