# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class RemoteActorWorker
  include Sidekiq::Job
  sidekiq_options queue: "pull", retry: 3

  def perform(uri) = RemoteActor.refresh(uri).touch
end
