# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class AccountsController < ApplicationController
  PERSONAL_HEADERS = %w[Cookie Authorization Signature].freeze

  before_action { response.headers["Vary"] = "Accept, Accept-Language, Cookie" }
  after_action { response.cache_control.replace(private: true, no_store: true) if personal? }

  def show
    @account = Account.local.find_local_or_remote(params[:username]) || raise(ActiveRecord::RecordNotFound)
    if activity_wanted?
      expires_in 3.minutes, public: true
      return render(json: Activity.actor(@account), content_type: "application/activity+json")
    end

    expires_in 15.seconds, public: true, stale_while_revalidate: 30.seconds
    @statuses = @account.statuses.recent.rendered.where(visibility: %i[public unlisted]).limit(20)
  end

  def status
    @status = Status.rendered.find(params[:id])
    raise ActiveRecord::RecordNotFound unless @status.visible_to?(nil)
    return render(json: Activity.note(@status), content_type: "application/activity+json") if activity_wanted?

    @account = @status.account
    @statuses = [@status]
    render :show
  end

  private

  def activity_wanted? = request.headers["Accept"].to_s.match?(%r{application/(activity|ld)\+json})

  # What a person sent and the answer depends on is not for a shared cache.
  def personal?
    varied = response.headers["Vary"].to_s.downcase.split(/,\s*/)
    PERSONAL_HEADERS.any? { |name| request.headers[name].present? && varied.include?(name.downcase) }
  end
end
