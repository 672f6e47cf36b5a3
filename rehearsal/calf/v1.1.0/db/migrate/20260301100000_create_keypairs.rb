# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class CreateKeypairs < ActiveRecord::Migration[7.2]
  def change
    create_table :keypairs do |t|
      t.references :account, null: false, foreign_key: { on_delete: :cascade }, index: { unique: true }
      t.string :private_key, null: false
      t.timestamps
    end
  end
end
